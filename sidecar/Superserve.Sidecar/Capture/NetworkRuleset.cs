using System.Globalization;

namespace Superserve.Sidecar.Capture;

/// <summary>
/// The rules of the pod's network, in nftables' language. What a sandbox sends reaches the sidecar or nobody:
/// <code>
///   sandbox ── output ──┬─ TCP ──────────── redirected to 16001 ─┐
///                       ├─ DNS ──────────── redirected to 16053 ─┤
///                       └─ all else ─────── rejected             ├─ sidecar ── marked ── postrouting ── out
///   others ──── input ──┬─ allowed ports ── sandbox ── replies ──┼──────────────────── postrouting ── out
///                       └─ all else ─────── dropped              └─ nothing else passes postrouting
/// </code>
/// Only who may set the mark can be the sidecar: it takes NET_RAW or NET_ADMIN, which admission takes from the sandbox. No rule looks
/// at a user, an interface other than lo, or a configured address.
/// </summary>
internal static class NetworkRuleset
{
    /// <summary>Marks, in connection tracking, a connection that others opened and the pod accepted.</summary>
    private const int Inbound = 0x5354;

    /// <summary>Marks what came in by an outer interface and is not answered yet.</summary>
    private const int Asked = 0x5355;

    /// <summary>The zone, in connection tracking, of the sidecar's questions to DNS servers.</summary>
    private const int Questions = 1;

    /// <summary>How long the rules keep a port open that is not renewed.</summary>
    public const int LeaseSeconds = 30;

    /// <summary>How many ports can be open to others by name.</summary>
    public const int MaxAllowedPorts = 128;

    /// <summary>Takes the rules away, and does nothing where there are none.</summary>
    public const string Removal = """
        add table inet superserve
        delete table inet superserve

        """;

    /// <summary>
    /// Puts the rules in force, in the place of those before, in one transaction: there is no moment without rules.
    /// </summary>
    public static string Text { get; } = Removal + string.Create(CultureInfo.InvariantCulture, $$"""
        table inet superserve {
            # What was blocked, by protocol; `nft list counters` shows it.
            counter blocked_tcp { }
            counter blocked_udp { }
            counter blocked_quic { }
            counter blocked_icmp { }
            counter blocked_other { }

            # Ports that others may connect to. The sidecar renews them (chain control); forgotten is closed.
            set allow_in {
                type inet_service
                flags dynamic,timeout
                timeout {{LeaseSeconds}}s
                size {{MaxAllowedPorts}}
            }

            # Has its one element while every TCP port is open to others. Zone is a constant of each packet, and so a key that the
            # order and the packets it is for have in common.
            set open_in {
                typeof ct zone
                flags dynamic,timeout
                timeout {{LeaseSeconds}}s
                size 1
            }

            # The sidecar asks the servers that the sandbox asks too, and a port is given anew as soon as its socket is closed. In one
            # zone tracking would take the question of one for one more of the other's, and lead it where that went.
            chain questions {
                type filter hook output priority -300
                policy accept
                meta mark {{EgressSockets.Mark}} meta l4proto { tcp, udp } th dport 53 ct original zone set {{Questions}}
            }

            # Leads what the sandbox sends to the sidecar. This decides where things go, never whether they may.
            chain capture {
                type nat hook output priority -100
                policy accept
                meta mark {{EgressSockets.Mark}} return
                oifname "lo" return
                meta l4proto { tcp, udp } th dport 53 redirect to :{{CapturePorts.Dns}}
                meta l4proto tcp redirect to :{{CapturePorts.Transparent}}
            }

            # Rejects early, so that programs fail at once; the sidecar reads of the ICMP errors what was blocked. What this lets
            # pass, postrouting judges again.
            chain output {
                type filter hook output priority 0
                policy drop
                meta mark {{EgressSockets.Mark}} ip daddr {{ControlAddress.Range}} meta l4proto udp goto control
                # The answers to the sidecar's connections are known by this (chain input).
                meta mark {{EgressSockets.Mark}} ct direction original ct mark set {{EgressSockets.Mark}}
                # And this is the sidecar's accepting one.
                meta mark {{EgressSockets.Mark}} ct direction reply ct mark {{Asked}} ct mark set {{Inbound}}
                meta mark {{EgressSockets.Mark}} accept
                jump discovery
                # A program chooses its source (IPV6_FREEBIND takes no capability), and the kernel would answer there, outside.
                fib saddr type != local jump blocked
                fib saddr type != local drop
                # Metrics name secrets and hosts: Prometheus asks from outside, the sandbox is not to.
                oifname "lo" tcp dport {{CapturePorts.Metrics}} reject with tcp reset
                oifname "lo" accept
                # Redirected: here it still shows the interface that it was meant for.
                ct status dnat accept
                ct direction reply jump replies
                jump blocked
                # Browsers and SDKs fall back from QUIC to TCP when its port is closed.
                udp dport 443 reject with icmpx port-unreachable
                # A connection from before the rules.
                meta l4proto tcp reject with tcp reset
                reject with icmpx admin-prohibited
            }

            # The authority: the packet's interface is the one that it leaves by. A redirected connection that is bound to an outer
            # interface (SO_BINDTODEVICE) gets as far as this.
            chain postrouting {
                type filter hook postrouting priority 0
                policy drop
                oifname "lo" accept
                meta mark {{EgressSockets.Mark}} accept
                ct direction reply jump replies
                jump discovery
                jump blocked
            }

            # A pod is no router.
            chain forward {
                type filter hook forward priority 0
                policy drop
            }

            chain input {
                type filter hook input priority 0
                policy drop
                iifname "lo" accept
                # What listens on loopback is for this pod, whatever route_localnet says.
                ip daddr 127.0.0.0/8 drop
                # Nobody else has the pod's addresses. The sidecar takes errors from them for those of these rules.
                fib saddr type local drop
                # Answers to the sidecar, and errors about what may go out: path MTU needs them.
                ct direction reply ct mark {{EgressSockets.Mark}} accept
                ct state related ct mark { {{EgressSockets.Mark}}, {{Inbound}} } icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
                ct state related ct mark { {{EgressSockets.Mark}}, {{Inbound}} } icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
                # From the link alone, which a hop limit of 255 shows.
                ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
                icmp type echo-request ct mark set {{Asked}} accept
                icmpv6 type echo-request ct mark set {{Asked}} accept
                # Looked up for each packet: what is withdrawn ends the connections that it let in.
                ct direction original ct mark {{Inbound}} goto requests
                # SYN alone: connection tracking also takes up connections in their middle, and would take one that the sandbox opened
                # before the rules for one that its peer opens now.
                ct state new tcp flags & (fin | syn | rst | ack) == syn ct mark set {{Asked}} goto requests
                ct state new meta l4proto udp ct mark set {{Inbound}} goto requests
            }

            # May others talk to this port? UDP needs its port named: it has no SYN, so where all is open, the peer of a flow that the
            # sandbox began before the rules could go on with it.
            chain requests {
                tcp dport { {{CapturePorts.Health}}, {{CapturePorts.Metrics}} } accept
                meta l4proto tcp ct zone @open_in accept
                meta l4proto { tcp, udp } th dport @allow_in accept
            }

            # May the pod answer from this port? The same, seen from the other side. From its own two ports the sidecar answers with
            # its mark: whoever takes them while it is down is not heard.
            chain answers {
                meta l4proto tcp ct zone @open_in accept
                meta l4proto { tcp, udp } th sport @allow_in accept
            }

            # Packets of the direction that answers. Only what came in (chain input) is answered to the outside: a question over lo may
            # say that it comes from there.
            chain replies {
                # The kernel's own, with what the question held.
                ct mark {{Asked}} icmp type echo-reply accept
                ct mark {{Asked}} icmpv6 type echo-reply accept
                # Only what accepts a connection says SYN-ACK. A socket from before the rules cannot be brought to it by a SYN that its
                # peer sends late, so nothing that it has to say becomes an answer.
                ct mark {{Asked}} tcp flags & (fin | syn | rst | ack) == syn | ack ct mark set {{Inbound}}
                # Refusing takes no connection.
                ct mark {{Asked}} tcp flags & rst == rst tcp sport { {{CapturePorts.Health}}, {{CapturePorts.Metrics}} } accept
                ct mark {{Asked}} tcp flags & rst == rst goto answers
                ct mark {{Inbound}} goto answers
            }

            # Without neighbours there is no IPv6. The kernel alone sends these: a socket for them takes NET_RAW. Multicast reports are
            # not among them, since a program chooses the groups in them.
            chain discovery {
                ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
            }

            chain blocked {
                meta l4proto tcp counter name blocked_tcp return
                udp dport 443 counter name blocked_quic return
                meta l4proto udp counter name blocked_udp return
                meta l4proto { icmp, icmpv6 } counter name blocked_icmp return
                counter name blocked_other
            }

            # Orders of the sidecar, which has no right to change rules: an address each, the port is the argument. Who may set the mark
            # gets here, nobody else. Dropping tells the sidecar that the rules are there: its system call fails with EPERM.
            chain control {
                ip daddr {{ControlAddress.AllowPort}} update @allow_in { udp dport }
                ip daddr {{ControlAddress.WithdrawPort}} delete @allow_in { udp dport }
                ip daddr {{ControlAddress.Open}} update @open_in { ct zone }
                ip daddr {{ControlAddress.Restrict}} delete @open_in { ct zone }
                drop
            }
        }

        """);
}
