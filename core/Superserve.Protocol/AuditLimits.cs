namespace Superserve.Protocol;

/// <summary>What a batch may hold. A batch beyond it is refused whole, so a sidecar keeps within it.</summary>
public static class AuditLimits
{
    /// <summary>A batch as it is sent, in bytes.</summary>
    public const int BatchBytes = 4 * 1024 * 1024;

    /// <summary>Records of one batch.</summary>
    public const int BatchRecords = 5_000;

    /// <summary>One record as it is sent, in bytes.</summary>
    public const int RecordBytes = 32 * 1024;

    /// <summary>The number that a boot is known by, in bytes.</summary>
    public const int BootBytes = 16;

    /// <summary>Secrets that one request used: more than there is room for in its head, so that no request is too much for its row.</summary>
    public const int Uses = 256;

    /// <summary>Characters of a path.</summary>
    public const int Path = 4096;

    /// <summary>Characters of a host, an address, a rule, a secret and a variable.</summary>
    public const int Name = 512;

    /// <summary>Characters of a method, a protocol, a reason, a type of records and an answer's code.</summary>
    public const int Word = 64;

    /// <summary>How far ahead of the service's clock a time may be. What is later is stored with the time at which it came.</summary>
    public static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(5);
}
