using System.Globalization;
using Grpc.Core;
using Superserve.Kubernetes;

namespace Superserve.Operator.Delivery;

/// <summary>Why a stream was not opened, or was closed: for the sidecar's log, the operator's, and a metric.</summary>
/// <param name="Reason">The metric's label.</param>
/// <param name="Status">What the sidecar's library sees.</param>
/// <param name="Message">What happened and what to do; nothing of a token.</param>
internal sealed record Ending(string Reason, StatusCode Status, string Message)
{
    private const int MaxProblems = 4;

    // ---- not opened -------------------------------------------------------------------------------------------------------

    public static Ending Starting(string missing) =>
        new("starting", StatusCode.Unavailable, $"this replica is still starting: it has not read {missing} yet. Try again in a moment");

    public static Ending TooManyStreams { get; } =
        new("too_many_streams", StatusCode.ResourceExhausted, "this replica serves as many sidecars as it may. Try again; if it stays so, run more replicas of the operator");

    public static Ending Busy { get; } =
        new("busy", StatusCode.ResourceExhausted, "too many sidecars connect to this replica at the same time. Try again, later each time");

    public static Ending NoToken { get; } =
        new("no_token", StatusCode.Unauthenticated, "the call has no token: send the metadata 'authorization: Bearer TOKEN', with the pod's service account token for the audience superserve.ai");

    public static Ending TokenRefused { get; } =
        new("token_refused", StatusCode.Unauthenticated, "the API server does not accept the token for the audience superserve.ai: it has expired, is for another audience or of no pod, or its pod is gone. Read the projected token file again; if it stays so, delete the pod");

    public static Ending TokenOfNoPod { get; } =
        new("token_of_no_pod", StatusCode.PermissionDenied, "the token is genuine, but not bound to a pod. Only the token of a pod's projected volume tells which sandbox it is");

    public static Ending ApiServerAway(string what) =>
        new("api_server_away", StatusCode.Unavailable, $"the API server could not be asked {what}. The operator's log says why; try again");

    public static Ending HandshakeTooLong { get; } =
        new("handshake_timeout", StatusCode.Unavailable, "the API server took too long to say who the caller is. Try again, later each time");

    public static Ending NoSuchPod(ObjectKey pod) =>
        new("pod_gone", StatusCode.PermissionDenied, $"the pod {pod} of the token is not there any more");

    public static Ending AnotherPod(ObjectKey pod) =>
        new("pod_replaced", StatusCode.PermissionDenied, $"the token is of an earlier pod named {pod}: the one that is there now has another UID");

    public static Ending PodFinished(ObjectKey pod) =>
        new("pod_finished", StatusCode.PermissionDenied, $"the pod {pod} has finished");

    public static Ending NotInjected(ObjectKey pod) => new("not_injected", StatusCode.PermissionDenied,
        $"the pod {pod} was not made a sandbox by admission. Label its namespace superserve.ai/injection=enabled, and make the pod anew");

    public static Ending BadSandboxId(ObjectKey pod) => new("sandbox_id", StatusCode.PermissionDenied,
        $"the annotation superserve.ai/sandbox-id of the pod {pod} is not as admission writes it. Make the pod anew");

    public static Ending BadStandIns(ObjectKey pod, string error) => new("stand_ins", StatusCode.PermissionDenied,
        $"the annotation superserve.ai/stand-ins of the pod {pod} is not as admission writes it: {error}. Make the pod anew");

    public static Ending Cloned(ObjectKey pod, string original) => new("sandbox_id_cloned", StatusCode.PermissionDenied,
        $"the pod {pod} has the sandbox id of the pod {original}, which was there first: it was copied past admission, as kubectl debug --copy-to does in a namespace without injection. Delete the copy");

    public static Ending Unsafe(ObjectKey pod, IReadOnlyList<string> problems) =>
        new("unsafe_pod", StatusCode.PermissionDenied, $"the pod {pod} may not have credentials: {string.Join("; ", problems.Take(MaxProblems))}{(problems.Count > MaxProblems ? $"; and {problems.Count - MaxProblems} more" : "")}");

    public static Ending NoHello { get; } =
        new("no_hello", StatusCode.DeadlineExceeded, "the first message has to be Hello, and within a few seconds");

    public static Ending BadHello(string what) =>
        new("bad_hello", StatusCode.InvalidArgument, $"the Hello says {what}. Use the sidecar of the operator's own release");

    public static Ending NoProtocol { get; } =
        new("protocol", StatusCode.FailedPrecondition, "the Hello names no protocol: a sidecar speaks protocol 1 or newer");

    public static Ending ProtocolTooNew(uint protocol, uint newest) => new("protocol", StatusCode.FailedPrecondition, string.Create(CultureInfo.InvariantCulture,
        $"the sidecar speaks protocol {protocol}, and this operator {newest}: more than two versions lie between them. Upgrade the operator"));

    // ---- closed -----------------------------------------------------------------------------------------------------------

    public static Ending SidecarLeft { get; } = new("sidecar_left", StatusCode.Cancelled, "the sidecar ended the stream");

    public static Ending Replaced { get; } = new("replaced", StatusCode.Aborted, "the pod has opened another stream, which takes this one's place");

    public static Ending PodGone { get; } = new("pod_gone", StatusCode.PermissionDenied, "the pod is gone, or has finished");

    public static Ending TokenExpired { get; } =
        new("token_expired", StatusCode.Unauthenticated, "the stream's token has expired, and no new one came: send a Renewal in time");

    public static Ending RenewalRefused { get; } = new("renewal_refused", StatusCode.Unauthenticated,
        "the API server does not accept the renewed token for the audience superserve.ai. Read the projected token file again and connect anew");

    public static Ending RenewalOfAnotherPod { get; } =
        new("renewal_refused", StatusCode.PermissionDenied, "the renewed token is of another pod than the stream");

    public static Ending Silent { get; } = new("silent", StatusCode.DeadlineExceeded, "nothing came for too long: a sidecar sends a heartbeat every 10 s");

    public static Ending Stalled { get; } = new("stalled", StatusCode.DeadlineExceeded, "the sidecar does not read what it is sent");

    public static Ending Flooding { get; } = new("flooding", StatusCode.ResourceExhausted, "more messages came than a sidecar has reason to send");

    public static Ending Unexpected { get; } = new("unexpected", StatusCode.InvalidArgument, "a message came that has no place in the stream: a second Hello, or an answer to nothing");

    public static Ending Unreadable { get; } = new("unreadable", StatusCode.InvalidArgument, "a message is longer than 64 KiB, compressed, or no message of the protocol");

    public static Ending Draining { get; } = new("draining", StatusCode.Unavailable, "this replica ends: connect to another one");

    public static Ending Fault { get; } = new("fault", StatusCode.Internal, "the operator made a mistake, which its log describes. Connect anew");
}

/// <summary>Carries an <see cref="Ending"/> out of a step.</summary>
internal sealed class EndingException(Ending ending) : Exception(ending.Message)
{
    public Ending Ending { get; } = ending;
}
