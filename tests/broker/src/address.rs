//! An address of its own for each cluster. All of 127.0.0.0/8 is this machine, so that no port is ever looked for: nothing
//! else takes a broker's port while it is down, and clusters of other processes have other addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// Clusters at once in one process. A process number has 22 bits, so two are left of the network's 24.
const CLUSTERS: u32 = 4;

/// Where a broker's clients come in; the port is unusual so that no server that listens on all addresses has it.
pub const CLIENTS: u16 = 29_092;
/// Where the other brokers come in.
pub const BROKERS: u16 = 29_093;
/// Where the brokers vote.
pub const CONTROLLER: u16 = 29_094;
/// From one node's ports to the next node's.
const STEP: u16 = 10;

static TAKEN: Mutex<[bool; CLUSTERS as usize]> = Mutex::new([false; CLUSTERS as usize]);

/// The address, until it is dropped.
#[derive(Debug)]
pub struct Address {
    slot: u32,
}

impl Address {
    /// Takes one that no other cluster has.
    pub fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = taken.iter().position(|taken| !taken).expect("a process has at most four clusters at once");
        taken[slot] = true;
        Self { slot: u32::try_from(slot).expect("it is below four") }
    }

    /// The address alone.
    pub fn ip(&self) -> Ipv4Addr {
        let host = (std::process::id() * CLUSTERS + self.slot) & 0x00ff_ffff;
        Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() | host)
    }

    /// One of the three doors of a node, whose number counts from 1.
    pub fn of(&self, node: u8, door: u16) -> SocketAddr {
        (self.ip(), door + STEP * u16::from(node - 1)).into()
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner)[self.slot as usize] = false;
    }
}
