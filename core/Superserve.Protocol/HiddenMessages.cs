using Google.Protobuf;

namespace Superserve.Protocol;

// What ToString says of the messages that hold a credential, a stand-in or a token, alone or inside another message. A
// list of messages (RepeatedField) is written out in full all the same: messages and their lists are for no log.

/// <content>Shows nothing of itself.</content>
public sealed partial class BoundSecret : ICustomDiagnosticMessage
{
    /// <inheritdoc/>
    public string ToDiagnosticString() => "\"[bound secret]\"";
}

/// <content>Shows nothing of itself.</content>
public sealed partial class Renewal : ICustomDiagnosticMessage
{
    /// <inheritdoc/>
    public string ToDiagnosticString() => "\"[renewal]\"";
}
