//! DHCP (RFC 2131): the guest gets the one address that there is.

use crate::config::Config;
use crate::link::Link;
use crate::udp::Datagram;
use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress,
    IpProtocol,
};
use std::net::{IpAddr, Ipv4Addr};
use trine_base::Partial;

/// The shortest message that old clients accept (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// Options that smoltcp does not name (RFC 2132).
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const BROADCAST: u8 = 28;

/// Whether a datagram is for the DHCP server.
pub(crate) fn is_for_server(datagram: &Datagram) -> bool {
    datagram.guest.port() == DHCP_CLIENT_PORT
        && datagram.peer.port() == DHCP_SERVER_PORT
        && datagram.peer.is_ipv4()
}

/// Serves a message from the guest, if it asks for something.
pub(crate) fn serve(link: &mut Link, payload: &[u8]) {
    let config = link.config.clone();
    let answer = DhcpPacket::new_checked(payload).ok().and_then(|packet| {
        let message = DhcpRepr::parse(&packet).ok()?;
        let kind = answer_kind(&config, &message)?;
        Some((kind, emit(&config, &message, kind)?, message.client_hardware_address, message.broadcast))
    });
    let Some((kind, bytes, mac, broadcast)) = answer else { return };
    // The client may have no address yet, so the frame goes to its Ethernet address without asking by ARP.
    if broadcast || kind == DhcpMessageType::Nak {
        send(link, EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST, &bytes);
    } else {
        send(link, mac, config.guest4, &bytes);
    }
}

/// Which answer a message gets.
fn answer_kind(config: &Config, message: &DhcpRepr) -> Option<DhcpMessageType> {
    if !message.client_hardware_address.is_unicast()
        || message.server_identifier.is_some_and(|s| s != config.gateway4)
    {
        // For another server.
        return None;
    }
    match message.message_type {
        DhcpMessageType::Discover => Some(DhcpMessageType::Offer),
        DhcpMessageType::Request => {
            let wanted = message.requested_ip.unwrap_or(message.client_ip);
            Some(if wanted == config.guest4 { DhcpMessageType::Ack } else { DhcpMessageType::Nak })
        }
        DhcpMessageType::Inform => Some(DhcpMessageType::Ack),
        // A release or a refusal changes nothing: the address is free for nobody else.
        _ => None,
    }
}

/// The bytes of an answer.
fn emit(config: &Config, message: &DhcpRepr, kind: DhcpMessageType) -> Option<Vec<u8>> {
    let is_nak = kind == DhcpMessageType::Nak;
    // One that only informs itself has an address (RFC 2131, 4.3.5).
    let leases = !is_nak && message.message_type != DhcpMessageType::Inform;
    let (dns, mtu) = (config.dns4.octets(), config.mtu.to_be_bytes());
    let broadcast = (config.guest4 | !config.mask4()).octets();
    let options = [
        DhcpOption { kind: DNS, data: &dns },
        DhcpOption { kind: MTU, data: &mtu },
        DhcpOption { kind: BROADCAST, data: &broadcast },
        DhcpOption { kind: HOST_NAME, data: config.host_name.as_bytes() },
        DhcpOption { kind: DOMAIN, data: config.domain.as_bytes() },
    ];
    let options: Vec<DhcpOption> = options.into_iter().filter(|o| !is_nak && !o.data.is_empty()).collect();
    let none = Ipv4Addr::UNSPECIFIED;
    let answer = DhcpRepr {
        message_type: kind,
        transaction_id: message.transaction_id,
        secs: 0,
        client_hardware_address: message.client_hardware_address,
        client_ip: if is_nak { none } else { message.client_ip },
        your_ip: if leases { config.guest4 } else { none },
        server_ip: if is_nak { none } else { config.gateway4 },
        router: (!is_nak).then_some(config.gateway4),
        subnet_mask: (!is_nak).then(|| config.mask4()),
        relay_agent_ip: none,
        broadcast: message.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(config.gateway4),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: leases.then_some(config.lease),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let mut bytes = vec![0; answer.buffer_len().max(SHORTEST)];
    answer.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).ok()?;
    Some(bytes)
}

fn send(link: &mut Link, mac: EthernetAddress, to: Ipv4Addr, payload: &[u8]) {
    let (source, target): (IpAddr, IpAddr) = (link.config.gateway4.into(), to.into());
    let length = 8 + payload.len();
    let Some(mut frame) = link.packet_to(mac, source, target, IpProtocol::Udp, length) else { return };
    for word in [DHCP_SERVER_PORT, DHCP_CLIENT_PORT, length as u16, 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.extend_from_slice(payload);
    // The checksum is ours in any case: firmware's clients look at it and know no offloads.
    let at = frame.len() - length;
    let pseudo = crate::checksum::pseudo(source, target, IpProtocol::Udp.into(), length);
    let sum = match !crate::checksum::add(crate::checksum::sum(&frame[at..]), pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    frame[at + 6..at + 8].copy_from_slice(&sum.to_be_bytes());
    link.push(frame, Partial::default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    fn message(kind: DhcpMessageType) -> DhcpRepr<'static> {
        let none = Ipv4Addr::UNSPECIFIED;
        DhcpRepr {
            message_type: kind,
            transaction_id: 0x1234_5678,
            secs: 0,
            client_hardware_address: MAC,
            client_ip: none,
            your_ip: none,
            server_ip: none,
            router: None,
            subnet_mask: None,
            relay_agent_ip: none,
            broadcast: false,
            requested_ip: None,
            client_identifier: Some(MAC),
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        }
    }

    /// The frame that a message is answered by.
    fn answer(message: &DhcpRepr) -> Option<Vec<u8>> {
        let config = Config { host_name: "guest".into(), domain: "example.org".into(), ..Config::default() };
        let mut link = Link::new(Arc::new(config));
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
        serve(&mut link, &bytes);
        link.out.pop().map(|(frame, _)| frame)
    }

    #[test]
    fn each_message_has_its_answer() {
        use DhcpMessageType::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
        let wanted = |a: [u8; 4]| Some(Ipv4Addr::from(a));
        let cases = [
            (DhcpRepr { requested_ip: wanted([10, 0, 2, 99]), ..message(Discover) }, Some(Offer)),
            (DhcpRepr { requested_ip: wanted([10, 0, 2, 15]), ..message(Request) }, Some(Ack)),
            (DhcpRepr { client_ip: Ipv4Addr::new(10, 0, 2, 15), ..message(Request) }, Some(Ack)),
            (DhcpRepr { requested_ip: wanted([10, 0, 2, 16]), ..message(Request) }, Some(Nak)),
            (DhcpRepr { server_identifier: wanted([10, 0, 2, 9]), ..message(Request) }, None),
            (message(Inform), Some(Ack)),
            (message(Release), None),
            (message(Decline), None),
        ];
        for (message, kind) in cases {
            let frame = answer(&message);
            let found = frame.as_ref().map(|f| {
                let packet = DhcpPacket::new_checked(&f[14 + 20 + 8..]).unwrap();
                DhcpRepr::parse(&packet).unwrap().message_type
            });
            assert_eq!(found, kind, "{message:?}");
        }
    }

    #[test]
    fn an_offer_has_all_that_a_guest_needs() {
        let frame = answer(&message(DhcpMessageType::Discover)).unwrap();
        assert_eq!(frame[..6], MAC.0);
        let packet = DhcpPacket::new_checked(&frame[42..]).unwrap();
        let offer = DhcpRepr::parse(&packet).unwrap();
        assert_eq!(offer.your_ip, Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!(offer.router, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(offer.subnet_mask, Some(Ipv4Addr::new(255, 255, 255, 0)));
        assert_eq!(offer.lease_duration, Some(86_400));
        let option = |kind| packet.options().find(|o| o.kind == kind).map(|o| o.data.to_vec());
        assert_eq!(option(DNS).unwrap(), [10, 0, 2, 3]);
        assert_eq!(option(MTU).unwrap(), [0x05, 0xdc]);
        assert_eq!(option(HOST_NAME).unwrap(), b"guest");
        assert_eq!(option(DOMAIN).unwrap(), b"example.org");
    }
}
