//! Ranges of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// First address.
    pub base: u32,
    /// Bits of the prefix.
    pub bits: u8,
}

impl Cidr {
    /// `--service-cluster-ip-range` as kubeadm sets it.
    pub const SERVICES: Self = Self { base: 10 << 24 | 96 << 16, bits: 12 };

    /// Reads `10.244.0.0/16`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/')?;
        let base = u32::from(base.parse::<Ipv4Addr>().ok()?);
        let bits: u8 = bits.parse().ok().filter(|b| *b <= 32)?;
        let cidr = Self { base, bits };
        (base & cidr.hosts() == 0).then_some(cidr)
    }

    /// The bits of an address that lie behind the prefix, all set.
    #[must_use]
    pub fn hosts(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0)
    }

    /// So many ranges with a longer prefix it holds.
    #[must_use]
    pub fn parts(self, bits: u8) -> u32 {
        1_u32.checked_shl(u32::from(bits.saturating_sub(self.bits))).unwrap_or(u32::MAX)
    }

    /// One of them, by its number.
    #[must_use]
    pub fn part(self, bits: u8, number: u32) -> Option<Self> {
        if number >= self.parts(bits) || !(1..=32).contains(&bits) {
            return None;
        }
        let base = self.base.checked_add(number.checked_mul(1 << (32 - u32::from(bits)))?)?;
        Some(Self { base, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_cut_into_parts() {
        let pods = Cidr::parse("10.244.0.0/16").unwrap();
        assert_eq!((pods.hosts(), pods.parts(24), pods.parts(28)), (0xffff, 256, 4096));
        assert_eq!(pods.part(24, 3).unwrap().to_string(), "10.244.3.0/24");
        assert_eq!(pods.part(28, 17).unwrap().to_string(), "10.244.1.16/28");
        assert_eq!(pods.part(24, 256), None);
        assert!(Cidr::parse("10.244.0.1/16").is_none());
        assert!(Cidr::parse("10.244.0.0/33").is_none());
    }
}
