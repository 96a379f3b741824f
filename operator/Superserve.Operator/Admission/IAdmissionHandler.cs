namespace Superserve.Operator.Admission;

/// <summary>Decides one kind of admission requests. It may be asked many at once, and must not change anything (dry run).</summary>
public interface IAdmissionHandler
{
    /// <summary>
    /// Decides. Whatever it throws is a denial: <see cref="CannotDecideException"/> with its message, all else as a fault. It ends
    /// soon after <paramref name="cancellationToken"/> is cancelled, which is before the API server gives up waiting.
    /// </summary>
    Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken);
}

/// <summary>What a decision needs could not be had now. The message is for the user, who is denied; the cause is for the log.</summary>
public sealed class CannotDecideException(string message, Exception? cause) : Exception(message, cause);
