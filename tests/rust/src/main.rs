// SPDX-License-Identifier: GPL-2.0
//! A small VMM on rust-vmm's kvm-ioctls: it saves a guest on shadow stacks to a file, and restores it.
//!
//!     vmm save FILE GUEST [WAIT]    run the firmware image GUEST up to its WAITth wait (1), and save it to FILE
//!     vmm restore FILE [--without-ssp | --without-msrs]
//!                                   continue from FILE to the guest's end; without SSP, or without CET's MSRs
//!     vmm kvm                       print what KVM offers: "shadow stacks" and "GUEST_SSP", or nothing
//!
//! The guest is that of tests/qemu/guest, on one CPU; tests/qemu/guest/io.h describes how it talks. Its lines are
//! printed as they come. Exit status: 0 if the guest came to its wait or its end, with nothing "not ok"; 1 if it did
//! not; 2 on wrong use or a file that cannot be read; 3 if KVM refuses what the VMM asks.
//!
//! State is saved as Firecracker and Cloud Hypervisor do, register by register, and in addition what KVM has for
//! GUEST_SSP. It is restored in the order that <asm/kvm_onereg.h> gives.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::{size_of, zeroed};
use std::process::exit;
use std::slice;

use kvm_bindings::*;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

const RAM_SIZE: usize = 2 << 20;
const ROM_SIZE: usize = 64 << 10;
const ROM_LOW: usize = 0xf0000;
const ROM_HIGH: u64 = 0xffff0000;
const KVM_PAGES: usize = 0xfffb_d000;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const FW_CFG_DATA: u16 = 0x511;
const DEBUG_CONSOLE: u16 = 0xe9;

const CET_MSRS: [u32; 8] = [0x6a0, 0x6a2, 0x6a4, 0x6a5, 0x6a6, 0x6a7, 0x6a8, 0xda0];
const SSP: u64 = kvm_x86_reg_kvm(KVM_REG_GUEST_SSP);
/// What VMX offers; the guest has no VMX
const VMX_MSRS: std::ops::RangeInclusive<u32> = 0x480..=0x493;
/// CPUID 1 and 7, ECX
const VMX: u32 = 1 << 5;
const SHADOW_STACKS: u32 = 1 << 7;

fn fail(status: i32, what: &str, why: impl Display) -> ! {
    eprintln!("vmm: {what}: {why}");
    exit(status)
}

/// What KVM answers, or the end of the program
fn kvm_gives<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|why| fail(3, what, why))
}

/// A structure of KVM, which is plain data, as its bytes
fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: the structures of the KVM API have no pointers, and were zeroed or filled by the kernel.
    unsafe { slice::from_raw_parts((value as *const T).cast(), size_of::<T>()) }
}

/// The same back
fn take<T>(from: &mut &[u8]) -> T {
    if from.len() < size_of::<T>() {
        fail(2, "the file", "it ends too early");
    }
    // SAFETY: any bytes are a valid structure of the KVM API, and there are enough.
    let mut value: T = unsafe { zeroed() };
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), (&mut value as *mut T).cast(), size_of::<T>()) };
    *from = &from[size_of::<T>()..];
    value
}

/// A VM of one vCPU, with the guest's memory
struct Vm {
    kvm: Kvm,
    _vm: VmFd,
    vcpu: VcpuFd,
    ram: &'static mut [u8],
}

fn map(vm: &VmFd, slot: u32, at: u64, size: usize) -> &'static mut [u8] {
    // SAFETY: new anonymous memory, which stays until the program ends.
    let memory = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if at == libc::MAP_FAILED {
            fail(3, "memory", std::io::Error::last_os_error());
        }
        slice::from_raw_parts_mut(at.cast::<u8>(), size)
    };
    let region = kvm_userspace_memory_region {
        slot,
        guest_phys_addr: at,
        memory_size: size as u64,
        userspace_addr: memory.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the memory is not used for anything else.
    kvm_gives("a memory region", unsafe { vm.set_user_memory_region(region) });
    memory
}

fn offered(kvm: &Kvm) -> CpuId {
    kvm_gives("CPUID", kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES))
}

/// The guest's CPU: what KVM offers, without VMX and performance counters, which kernels offer in different ways
fn guest_cpu(kvm: &Kvm) -> CpuId {
    let mut cpu = offered(kvm);
    for entry in cpu.as_mut_slice() {
        match entry.function {
            1 => entry.ecx &= !VMX,
            0xa => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
            _ => {}
        }
    }
    cpu
}

fn new_vm() -> Vm {
    let kvm = kvm_gives("/dev/kvm", Kvm::new());
    let vm = kvm_gives("a VM", kvm.create_vm());
    kvm_gives("its TSS", vm.set_tss_address(KVM_PAGES));
    kvm_gives("an interrupt controller", vm.create_irq_chip());
    let ram = map(&vm, 0, 0, RAM_SIZE);
    let vcpu = kvm_gives("a vCPU", vm.create_vcpu(0));
    kvm_gives("the vCPU's CPUID", vcpu.set_cpuid2(&guest_cpu(&kvm)));
    Vm { kvm, _vm: vm, vcpu, ram }
}

/// Run to the next wait (true) or the end (false). @go: the byte that the guest waits for has come.
fn run(vm: &mut Vm, mut go: bool) -> bool {
    let mut line = String::new();
    let mut good = true;
    loop {
        match vm.vcpu.run() {
            Ok(VcpuExit::IoOut(DEBUG_CONSOLE, data)) => {
                for &byte in data {
                    if byte != b'\n' {
                        line.push(byte.into());
                        continue;
                    }
                    println!("{line}");
                    good &= !line.starts_with("not ok");
                    if line == "end" || line.starts_with("wait ") {
                        if !good {
                            exit(1);
                        }
                        return line != "end";
                    }
                    line.clear();
                }
            }
            Ok(VcpuExit::IoIn(port, data)) => {
                data.fill(match port {
                    LINE_STATUS => go as u8,
                    FW_CFG_DATA => 1,
                    _ => 0,
                });
                go &= port != COM1;
            }
            Ok(VcpuExit::IoOut(..)) => {}
            Ok(other) => fail(1, "the guest stopped", format!("{other:?}")),
            Err(why) if why.errno() == libc::EINTR => {}
            Err(why) => fail(3, "KVM_RUN", why),
        }
    }
}

fn read_msr(vcpu: &VcpuFd, index: u32) -> Option<u64> {
    let mut msrs = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]).unwrap();
    match vcpu.get_msrs(&mut msrs) {
        Ok(1) => Some(msrs.as_slice()[0].data),
        _ => None,
    }
}

fn save(file: &str, guest: &str, wait: u32) {
    let mut rom = Vec::new();
    if let Err(why) = File::open(guest).and_then(|mut f| f.read_to_end(&mut rom)) {
        fail(2, guest, why);
    }
    if rom.len() != ROM_SIZE {
        fail(2, guest, "it does not have 64 KiB");
    }
    let mut vm = new_vm();
    map(&vm._vm, 1, ROM_HIGH, ROM_SIZE).copy_from_slice(&rom);
    vm.ram[ROM_LOW..ROM_LOW + ROM_SIZE].copy_from_slice(&rom);
    for n in 1..=wait {
        if !run(&mut vm, n > 1) {
            fail(1, "the guest", "it came to its end");
        }
    }

    // The instruction that sent the line is not over until KVM_RUN is called again
    vm.vcpu.set_kvm_immediate_exit(1);
    match vm.vcpu.run() {
        Err(why) if why.errno() == libc::EINTR => {}
        other => fail(1, "KVM_RUN with immediate_exit", format!("{other:?}")),
    }
    let vcpu = &vm.vcpu;
    let mut out = Vec::new();
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_SREGS", vcpu.get_sregs())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_REGS", vcpu.get_regs())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_XSAVE", vcpu.get_xsave())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_XCRS", vcpu.get_xcrs())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_DEBUGREGS", vcpu.get_debug_regs())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_LAPIC", vcpu.get_lapic())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_MP_STATE", vcpu.get_mp_state())));
    out.extend_from_slice(bytes_of(&kvm_gives("KVM_GET_VCPU_EVENTS", vcpu.get_vcpu_events())));
    let mut ssp = [0; 8];
    kvm_gives("KVM_GET_ONE_REG of GUEST_SSP", vcpu.get_one_reg(SSP, &mut ssp));
    out.extend_from_slice(&ssp);
    let list = kvm_gives("KVM_GET_MSR_INDEX_LIST", vm.kvm.get_msr_index_list());
    let msrs: Vec<(u32, u64)> =
        list.as_slice()
            .iter()
            .filter(|index| !VMX_MSRS.contains(index))
            .filter_map(|&index| Some((index, read_msr(vcpu, index)?)))
            .collect();
    for index in CET_MSRS {
        // What KVM reads by its MSR number, it reads by its id, too
        let mut value = [0; 8];
        let length = kvm_gives("KVM_GET_ONE_REG of an MSR", vcpu.get_one_reg(kvm_x86_reg_msr(index), &mut value));
        if length != 8 || read_msr(vcpu, index) != Some(u64::from_le_bytes(value)) {
            fail(1, "an MSR", format!("{index:#x} has two values"));
        }
    }
    out.extend_from_slice(bytes_of(&msrs.len()));
    for (index, value) in &msrs {
        out.extend_from_slice(bytes_of(index));
        out.extend_from_slice(bytes_of(value));
    }
    out.extend_from_slice(vm.ram);
    if let Err(why) = File::create(file).and_then(|mut f| f.write_all(&out)) {
        fail(2, file, why);
    }
    println!("saved, SSP {:#x}", u64::from_le_bytes(ssp));
}

fn restore(file: &str, without: &str) {
    let mut saved = Vec::new();
    if let Err(why) = File::open(file).and_then(|mut f| f.read_to_end(&mut saved)) {
        fail(2, file, why);
    }
    let mut from = &saved[..];
    let mut vm = new_vm();
    let vcpu = &vm.vcpu;
    kvm_gives("KVM_SET_SREGS", vcpu.set_sregs(&take(&mut from)));
    kvm_gives("KVM_SET_REGS", vcpu.set_regs(&take(&mut from)));
    // SAFETY: nothing enables features that need a larger area.
    kvm_gives("KVM_SET_XSAVE", unsafe { vcpu.set_xsave(&take(&mut from)) });
    kvm_gives("KVM_SET_XCRS", vcpu.set_xcrs(&take(&mut from)));
    kvm_gives("KVM_SET_DEBUGREGS", vcpu.set_debug_regs(&take(&mut from)));
    kvm_gives("KVM_SET_LAPIC", vcpu.set_lapic(&take(&mut from)));
    kvm_gives("KVM_SET_MP_STATE", vcpu.set_mp_state(take(&mut from)));
    let events: kvm_vcpu_events = take(&mut from);
    let ssp: [u8; 8] = take(&mut from);
    for _ in 0..take::<usize>(&mut from) {
        let index: u32 = take(&mut from);
        let data: u64 = take(&mut from);
        if without == "--without-msrs" && CET_MSRS.contains(&index) {
            continue;
        }
        let entry = kvm_msr_entry { index, data, ..Default::default() };
        let set = kvm_gives("KVM_SET_MSRS", vcpu.set_msrs(&Msrs::from_entries(&[entry]).unwrap()));
        // Some MSRs can be read and not be written; one that this kernel does not have is not lost if it is 0
        if set != 1 && read_msr(vcpu, index).unwrap_or(0) != data {
            fail(3, "KVM_SET_MSRS", format!("MSR {index:#x} does not take {data:#x}"));
        }
    }
    if without != "--without-ssp" {
        kvm_gives("KVM_SET_ONE_REG of GUEST_SSP", vcpu.set_one_reg(SSP, &ssp));
    }
    kvm_gives("KVM_SET_VCPU_EVENTS", vcpu.set_vcpu_events(&events));
    if from.len() != RAM_SIZE {
        fail(2, file, "its size is wrong");
    }
    vm.ram.copy_from_slice(from);
    while run(&mut vm, true) {}
}

fn tell_what_kvm_offers() {
    let kvm = kvm_gives("/dev/kvm", Kvm::new());
    if offered(&kvm).as_slice().iter().any(|e| e.function == 7 && e.index == 0 && e.ecx & SHADOW_STACKS != 0) {
        println!("shadow stacks");
    }
    let vm = new_vm();
    if vm.vcpu.get_one_reg(SSP, &mut [0; 8]).is_ok() {
        println!("GUEST_SSP");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["save", file, guest] => save(file, guest, 1),
        ["save", file, guest, wait] => match wait.parse() {
            Ok(wait) if wait > 0 => save(file, guest, wait),
            _ => fail(2, wait, "it is not a number of 1 or more"),
        },
        ["restore", file] => restore(file, ""),
        ["restore", file, without @ ("--without-ssp" | "--without-msrs")] => restore(file, without),
        ["kvm"] => tell_what_kvm_offers(),
        _ => fail(2, "wrong use", "vmm save FILE GUEST [WAIT] | restore FILE [--without-ssp | --without-msrs] | kvm"),
    }
}
