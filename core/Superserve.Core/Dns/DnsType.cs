namespace Superserve.Core.Dns;

/// <summary>The types of records that are forwarded, and OPT. A type that is not here is answered NOTIMP.</summary>
public enum DnsType
{
    A = 1,
    NS = 2,
    CNAME = 5,
    SOA = 6,
    PTR = 12,
    MX = 15,
    TXT = 16,
    AAAA = 28,
    SRV = 33,
    NAPTR = 35,

    /// <summary>No record: what a message says of itself (EDNS, RFC 6891).</summary>
    OPT = 41,
    DS = 43,
    SSHFP = 44,
    DNSKEY = 48,
    TLSA = 52,
    SVCB = 64,
    HTTPS = 65,
    CAA = 257,
}

/// <summary>What a server says of a query, RFC 1035 and RFC 6891.</summary>
public enum DnsCode
{
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NXDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}
