//! Whose address a request has, and how many connections it may hold, its own and those of proxies.
//!
//! What proxies say counts only where the peer is one; without that anybody could choose his address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;

use crate::domain::config::IpNet;

/// Header in which a proxy adds the address of its peer at the right end.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Bits of an IPv6 address that one household or server gets: the rest is its own choice.
const V6_PREFIX: u32 = 64;

/// The peers that are believed.
#[derive(Clone, Debug)]
pub(super) enum Proxies {
    /// Those in these ranges.
    Within(Vec<IpNet>),
    /// Those on this machine.
    Loopback,
}

impl Proxies {
    /// What `stated` means for a listener at `listen`: without a word, a loopback listener believes loopback.
    pub(super) fn new(stated: Option<Vec<IpNet>>, listen: IpAddr) -> Self {
        match stated {
            Some(ranges) => Self::Within(ranges),
            None if listen.to_canonical().is_loopback() => Self::Loopback,
            None => Self::Within(Vec::new()),
        }
    }

    /// Whether `peer` is believed.
    pub(super) fn trust(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        match self {
            Self::Within(ranges) => ranges.iter().any(|range| contains(range, peer)),
            Self::Loopback => peer.is_loopback(),
        }
    }

    /// The address that a request of `peer` comes from: the rightmost forwarded one that is no proxy.
    pub(super) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut origin = peer.to_canonical();
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        // What no proxy of ours wrote ends the search, and so does what cannot be read.
        for entry in values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')) {
            if !self.trust(origin) {
                break;
            }
            let Some(address) = address(entry.trim()) else { break };
            origin = address.to_canonical();
        }
        origin
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare)
}

fn contains(range: &IpNet, address: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let kept = u32::from(range.prefix).min(width);
        kept == 0 || (a ^ b) >> (width - kept) == 0
    };
    match (range.addr, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The address that limits count by: IPv6 by its network.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> (128 - V6_PREFIX) << (128 - V6_PREFIX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// The connections there are.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    in_all: usize,
    per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// There are as many as may be.
    InAll,
    /// This address has as many as it may.
    OfAddress,
}

/// The place of one connection, or of one address on a proxy's for the time of a request; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    address: Option<IpAddr>,
    is_connection: bool,
}

impl Seats {
    /// Places for `in_all` connections, `per_address` of them for one address.
    pub(super) fn new(in_all: usize, per_address: usize) -> Self {
        Self { in_all, per_address, taken: Arc::default() }
    }

    /// Takes a place for `address`; `None` is a proxy, who comes for many.
    ///
    /// # Errors
    /// [`NoSeat`]; nothing was taken.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Result<Seat, NoSeat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= self.in_all {
            return Err(NoSeat::InAll);
        }
        if let Some(address) = address {
            taken.add(address, self.per_address)?;
        }
        taken.in_all += 1;
        Ok(Seat { seats: self.clone(), address, is_connection: true })
    }

    /// Takes a place for a request that a proxy's connection, which has its own, carries for `address`; `None` where that
    /// has as many as it may.
    pub(super) fn take_for_request(&self, address: IpAddr) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.add(address, self.per_address).ok()?;
        Some(Seat { seats: self.clone(), address: Some(address), is_connection: false })
    }
}

impl Taken {
    fn add(&mut self, address: IpAddr, most: usize) -> Result<(), NoSeat> {
        let of_address = self.by_address.entry(address).or_default();
        if *of_address >= most {
            return Err(NoSeat::OfAddress);
        }
        *of_address += 1;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= usize::from(self.is_connection);
        if let Some(address) = self.address
            && let Some(of_address) = taken.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn range(addr: &str, prefix: u8) -> IpNet {
        IpNet { addr: ip(addr), prefix }
    }

    #[test]
    fn an_address_is_the_rightmost_that_no_proxy_has() {
        let loopback = Proxies::new(None, ip("127.0.0.1"));
        let public = Proxies::new(None, ip("0.0.0.0"));
        let nobody = Proxies::new(Some(Vec::new()), ip("127.0.0.1"));
        let lan = Proxies::new(Some(vec![range("10.0.0.0", 8), range("fd00::", 8)]), ip("0.0.0.0"));
        let table: [(&str, &Proxies, &str, &[&str], &str); 16] = [
            ("no header", &loopback, "127.0.0.1", &[], "127.0.0.1"),
            ("loopback is believed", &loopback, "127.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("also as v6", &loopback, "::1", &["1.2.3.4"], "1.2.3.4"),
            ("unless told otherwise", &nobody, "127.0.0.1", &["1.2.3.4"], "127.0.0.1"),
            ("not on a public listener", &public, "127.0.0.1", &["1.2.3.4"], "127.0.0.1"),
            ("not from elsewhere", &loopback, "5.6.7.8", &["1.2.3.4"], "5.6.7.8"),
            ("the left is anybody's word", &loopback, "127.0.0.1", &["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            ("in several headers", &loopback, "127.0.0.1", &["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
            ("through two proxies", &lan, "10.0.0.1", &["9.9.9.9, 1.2.3.4, 10.1.1.1"], "1.2.3.4"),
            ("all proxies", &lan, "10.0.0.1", &["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            ("nonsense ends it", &lan, "10.0.0.1", &["1.2.3.4, unknown, 10.1.1.1"], "10.1.1.1"),
            ("with a port", &loopback, "127.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            ("v6", &loopback, "127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("v6 with a port", &loopback, "127.0.0.1", &["[2001:db8::1]:5678"], "2001:db8::1"),
            ("v6 in brackets", &loopback, "127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("v4 in v6", &lan, "::ffff:10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
        ];
        for (what, proxies, peer, values, origin) in table {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
            }
            assert_eq!(proxies.origin(ip(peer), &headers), ip(origin), "{what}");
        }
    }

    #[test]
    fn ranges_hold_what_their_prefix_says() {
        let table = [
            (range("10.0.0.0", 8), "10.255.0.1", true),
            (range("10.0.0.0", 8), "11.0.0.1", false),
            (range("10.1.2.3", 32), "10.1.2.3", true),
            (range("10.1.2.3", 32), "10.1.2.2", false),
            (range("0.0.0.0", 0), "1.2.3.4", true),
            (range("0.0.0.0", 0), "::1", false),
            (range("2001:db8::", 32), "2001:db8:1::1", true),
            (range("2001:db8::", 32), "2001:db9::1", false),
            (range("::", 0), "2001:db8::1", true),
        ];
        for (range, address, inside) in table {
            assert_eq!(contains(&range, ip(address)), inside, "{address} in {range:?}");
        }
    }

    #[test]
    fn one_network_is_one_address() {
        assert_eq!(counted(ip("2001:db8:0:1::1")), counted(ip("2001:db8:0:1:ffff::9")));
        assert_ne!(counted(ip("2001:db8:0:1::1")), counted(ip("2001:db8:0:2::1")));
        assert_ne!(counted(ip("1.2.3.4")), counted(ip("1.2.3.5")));
        assert_eq!(counted(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let seats = Seats::new(4, 2);
        let (a, b) = (Some(ip("1.1.1.1")), Some(ip("2.2.2.2")));
        let held: Vec<Seat> = [a, a, b].into_iter().map(|who| seats.take(who).unwrap()).collect();
        assert_eq!(seats.take(a).err(), Some(NoSeat::OfAddress));
        let proxy = seats.take(None).unwrap();
        assert_eq!(seats.take(b).err(), Some(NoSeat::InAll));
        assert_eq!(seats.take(None).err(), Some(NoSeat::InAll), "also for proxies");
        drop(proxy);
        assert!(seats.take(b).is_ok());
        drop(held);
        assert!(seats.taken.lock().unwrap().by_address.is_empty(), "nothing is remembered");
    }
}
