//! Links godown-core into a static library without std. If any dependency pulled std in, its panic handler and this
//! one would be two, which the compiler refuses.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};

struct NoMemory;

// SAFETY: it never hands memory out, so there is none that could be misused. Nothing here is ever run.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Keeps the core from being dropped as unused.
#[unsafe(no_mangle)]
pub extern "C" fn godown_frame_version() -> u8 {
    godown_core::wire::VERSION_MAX
}
