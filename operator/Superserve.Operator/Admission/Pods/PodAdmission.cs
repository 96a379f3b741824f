using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using Superserve.Core.Hosts;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;

namespace Superserve.Operator.Admission.Pods;

/// <summary>The resources of a namespace, from the cache and from the API server itself.</summary>
public interface INamespaceResources
{
    /// <summary>SandboxBindings as the cache has them.</summary>
    IReadOnlyList<SandboxBindingResource> Bindings(string @namespace);

    /// <summary>Superserve Secrets as the cache has them.</summary>
    IReadOnlyList<SecretResource> Secrets(string @namespace);

    /// <summary>SandboxBindings as they are now; a <see cref="CannotDecideException"/> where the API server does not say.</summary>
    Task<IReadOnlyList<SandboxBindingResource>> ListBindingsAsync(string @namespace, CancellationToken cancellationToken);

    /// <summary>Superserve Secrets as they are now; a <see cref="CannotDecideException"/> where the API server does not say.</summary>
    Task<IReadOnlyList<SecretResource>> ListSecretsAsync(string @namespace, CancellationToken cancellationToken);
}

/// <summary>
/// What admission does with pods of namespaces with the label <c>superserve.ai/injection=enabled</c>, in two steps: the first makes
/// sandboxes of those that are to be (<see cref="PodInjector"/>), the second, after all other webhooks, refuses what a sandbox must
/// not have (<see cref="PodGuard"/>).
/// </summary>
public sealed class PodAdmission
{
    /// <summary>Where pods are changed.</summary>
    public const string MutatePath = "/mutate/pods";

    /// <summary>Where pods, debug containers, exec and attach are judged.</summary>
    public const string ValidatePath = "/validate/pods";

    private readonly INamespaceResources _resources;
    private readonly ProviderCatalog _catalog;
    private readonly Func<InjectionOptions> _options;
    private readonly Func<ReadOnlyMemory<byte>> _key;
    private readonly Func<byte[]> _random;
    private readonly TimeProvider _time;

    /// <summary>Options and key are asked for anew each time: the operator's CA changes, and the key may not be there yet.</summary>
    /// <param name="resources">Bindings and Superserve Secrets.</param>
    /// <param name="catalog">The known providers, for the shapes of stand-ins.</param>
    /// <param name="options">What goes into pods.</param>
    /// <param name="key">The operator's key of stand-ins and seals; a <see cref="CannotDecideException"/> while there is none.</param>
    /// <param name="random"><see cref="SandboxId.RandomBytes"/> bytes that nobody can guess.</param>
    /// <param name="time">The clock.</param>
    public PodAdmission(
        INamespaceResources resources, ProviderCatalog catalog, Func<InjectionOptions> options, Func<ReadOnlyMemory<byte>> key, Func<byte[]> random, TimeProvider time)
    {
        _resources = resources;
        _catalog = catalog;
        _options = options;
        _key = key;
        _random = random;
        _time = time;
        Mutating = new Handler(MutateAsync);
        Validating = new Handler((request, _) => Task.FromResult(Validate(request)));
    }

    /// <summary>The handler of <see cref="MutatePath"/>.</summary>
    public IAdmissionHandler Mutating { get; }

    /// <summary>The handler of <see cref="ValidatePath"/>.</summary>
    public IAdmissionHandler Validating { get; }

    private async Task<AdmissionDecision> MutateAsync(AdmissionRequest request, CancellationToken cancellationToken)
    {
        if (request is not { Operation: "CREATE", Resource: "pods", SubResource: "", Object: { } element })
            return AdmissionDecision.BadRequest($"{request} is none that this webhook changes; let its rules name CREATE of pods alone");
        JsonObject pod = JsonObject.Create(element)!;
        Dictionary<string, string> labels = pod.Labels();

        // 1. Is it to be a sandbox? Bindings that the cache does not know may have been applied together with the pod.
        DateTimeOffset now = _time.GetUtcNow();
        IReadOnlyList<SandboxBindingResource> all = _resources.Bindings(request.Namespace);
        PodBindings bindings = PodBindings.Of(labels, all, now);
        if (!bindings.IsSandbox)
        {
            all = await _resources.ListBindingsAsync(request.Namespace, cancellationToken);
            bindings = PodBindings.Of(labels, all, now);
        }

        if (!bindings.IsSandbox && !IsAllowedUnbound(pod, labels))
            return WhyNot(pod, labels, all) is { } reason ? AdmissionDecision.Invalid(reason) : AdmissionDecision.Allow();

        // 2. The Superserve Secrets that it gets.
        List<SpecError> errors = [];
        Dictionary<string, SecretIdentity> secrets = Identify(bindings, _resources.Secrets(request.Namespace), errors);
        if (bindings.Variables.Any(variable => !secrets.ContainsKey(variable.SecretName)))
        {
            errors.Clear();
            secrets = Identify(bindings, await _resources.ListSecretsAsync(request.Namespace, cancellationToken), errors);
        }

        if (errors.Count > 0) return AdmissionDecision.Invalid(errors);

        // 3. The sandbox.
        Injection injection = new PodInjector(_options(), _key(), _time, _random).Inject(pod, request.Namespace, bindings, secrets);
        if (injection.Pod is null) return AdmissionDecision.Invalid(injection.Errors);
        JsonArray patch = JsonPatch.Between(pod, injection.Pod);
        return patch.Count == 0
            ? AdmissionDecision.Allow(injection.Warnings)
            : AdmissionDecision.Change(JsonSerializer.SerializeToUtf8Bytes<JsonNode>(patch), injection.Warnings);
    }

    private AdmissionDecision Validate(AdmissionRequest request)
    {
        // 1. A command in a container.
        if (request is { Operation: "CONNECT", Resource: "pods", SubResource: "exec" or "attach", Object: { } options })
            return PodGuard.CheckExec(JsonObject.Create(options).Text("container")) is { } refusal
                ? AdmissionDecision.Forbid(refusal)
                : AdmissionDecision.Allow();

        if (request is not { Resource: "pods", Object: { } element } || request is not ({ Operation: "CREATE", SubResource: "" } or { Operation: "UPDATE" }))
            return AdmissionDecision.BadRequest($"{request} is none that this webhook judges; let its rules name CREATE and UPDATE of pods, "
                + "UPDATE of pods/ephemeralcontainers, and CONNECT of pods/exec and pods/attach");
        JsonObject pod = JsonObject.Create(element)!;
        JsonObject? old = request is { Operation: "UPDATE", OldObject: { } before } ? JsonObject.Create(before) : null;

        // 2. Only sandboxes. A pod that runs without being one is nothing that an update could change: the binding's status says so.
        bool isSandbox = pod.IsMarked();
        if (request.Operation == "CREATE" && !isSandbox)
        {
            Dictionary<string, string> labels = pod.Labels();
            isSandbox = HasSandboxLabel(labels) || PodBindings.Of(labels, _resources.Bindings(request.Namespace), _time.GetUtcNow()).IsSandbox;
        }

        if (!isSandbox) return AdmissionDecision.Allow();

        // 3. What a sandbox must not have.
        HashSet<string> credentials = CredentialsOf(_resources, request.Namespace);
        PodGuard guard = new(_options(), _key());
        IReadOnlyList<SpecError> errors = old is null
            ? guard.Check(pod, request.Namespace, credentials)
            : guard.CheckUpdate(pod, old, request.Namespace, credentials);
        return errors.Count == 0 ? AdmissionDecision.Allow() : AdmissionDecision.Invalid(errors);
    }

    /// <summary>The core Secrets that hold credentials: those that a Superserve Secret names.</summary>
    internal static HashSet<string> CredentialsOf(INamespaceResources resources, string @namespace) =>
        [.. resources.Secrets(@namespace).Select(secret => secret.Spec?.ValueFrom?.SecretKeyRef?.Name).OfType<string>()];

    private static bool HasSandboxLabel(Dictionary<string, string> labels) => labels.GetValueOrDefault(Marks.SandboxLabel) == "true";

    /// <summary>Whether it is a sandbox before any binding selects it, as the pods of a warm pool are.</summary>
    private static bool IsAllowedUnbound(JsonObject pod, Dictionary<string, string> labels) =>
        HasSandboxLabel(labels) && pod.Annotation(Marks.AllowUnboundAnnotation) == "true";

    /// <summary>Why a pod that no binding selects may not run; null where it is just no sandbox.</summary>
    private static string? WhyNot(JsonObject pod, Dictionary<string, string> labels, IReadOnlyList<SandboxBindingResource> all)
    {
        // Looked at before the end of time, no binding has expired.
        if (PodBindings.Of(labels, all, DateTimeOffset.MinValue).Bindings is [var expired, ..])
            return $"the SandboxBinding {expired.Metadata.Name} that selects this pod expired at {expired.Spec!.ExpiresAt:u}: set a later expiresAt, "
                + "or delete the binding to run the pod outside of a sandbox";
        if (HasSandboxLabel(labels))
            return $"the pod has the label {Marks.SandboxLabel}=true and no SandboxBinding of its namespace selects it: create one whose selector matches its labels "
                + $"({string.Join(", ", labels.Where(label => label.Key != Marks.SandboxLabel).Select(label => $"{label.Key}={label.Value}"))}); a controller makes the pod once it is there. "
                + $"The pods of a warm pool get the annotation {Marks.AllowUnboundAnnotation}=true";
        if (pod.IsMarked())
            return "the pod is a copy of a sandbox, or names its annotations or containers, and no SandboxBinding selects it, so it would run without a sidecar that works: "
                + "keep the labels (kubectl debug --copy-to NAME --keep-labels --share-processes=false), or remove what is of superserve from it";
        return null;
    }

    private Dictionary<string, SecretIdentity> Identify(PodBindings bindings, IReadOnlyList<SecretResource> known, List<SpecError> errors)
    {
        Dictionary<string, SecretIdentity> identities = new(StringComparer.Ordinal);
        foreach (SecretResource secret in known.Where(secret => bindings.Variables.Any(variable => variable.SecretName == secret.Metadata.Name)))
        {
            List<SpecError> mistakes = [];
            if (SecretDefinition.TryCreate(secret.Spec ?? new SecretResourceSpec(), "spec", _catalog, PublicSuffixList.Embedded, mistakes, out SecretDefinition? definition))
                identities[secret.Metadata.Name] = new(secret.Metadata.Uid, definition.Shape);
            else
                errors.AddRange(mistakes.Select(mistake => new SpecError($"the Superserve Secret {secret.Metadata.Name}, {mistake.Path}", mistake.Message)));
        }

        return identities;
    }

    private sealed class Handler(Func<AdmissionRequest, CancellationToken, Task<AdmissionDecision>> decide) : IAdmissionHandler
    {
        public Task<AdmissionDecision> AdmitAsync(AdmissionRequest request, CancellationToken cancellationToken) => decide(request, cancellationToken);
    }
}
