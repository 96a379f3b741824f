using Superserve.Core.Events;

namespace Superserve.Sidecar.Events;

/// <summary>Where events go. Nothing here waits: what finds no room is counted and gone.</summary>
internal interface IEventSink
{
    /// <summary>For a request that goes on without a place.</summary>
    const int NoPlace = -1;

    /// <summary>
    /// Takes a place for the event of a request that uses a secret, ahead of forwarding it: what is under way can always be recorded.
    /// False where the request must not go on, since the audit is required and there is no place.
    /// </summary>
    /// <param name="begun">The event as far as it is known.</param>
    /// <param name="audit">What the snapshot asks for.</param>
    /// <param name="place">For <see cref="Complete"/>, which has to follow.</param>
    bool TryBegin(RequestEvent begun, AuditMode audit, out int place);

    /// <summary>The whole event of a request that began.</summary>
    void Complete(int place, RequestEvent request);

    /// <summary>A request that got no credential, a connection or a look-up.</summary>
    void Add(SidecarEvent item);
}
