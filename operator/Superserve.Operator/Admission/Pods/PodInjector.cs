using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Superserve.Core.Secrets;
using Superserve.Core.StandIns;
using Superserve.Core.Trust;
using Superserve.Operator.Bindings;

namespace Superserve.Operator.Admission.Pods;

/// <summary>What a stand-in has of its Superserve Secret.</summary>
public sealed record SecretIdentity(string Uid, TokenShape Shape);

/// <summary>A pod as it is to be, or why it may not be.</summary>
/// <param name="Pod">The pod with all that makes it a sandbox; null where there are errors.</param>
/// <param name="Warnings">What works less well than the owner may think.</param>
/// <param name="Errors">What is wrong and what to change.</param>
public sealed record Injection(JsonObject? Pod, IReadOnlyList<string> Warnings, IReadOnlyList<SpecError> Errors);

/// <summary>
/// Makes a pod a sandbox: takes out whatever of ours is in it, and puts everything in anew. So it makes no difference whether the pod
/// comes for the first time, is a copy of a sandbox (<c>kubectl debug --copy-to</c>), or was here a moment ago and comes again because
/// another webhook changed it.
/// </summary>
/// <remarks>
/// The three differ in the sandbox id alone. A pod that was here a moment ago keeps its id, so that doing it twice changes nothing:
/// its seal says that the id was made for it (<see cref="PodSeal"/>), and the id says when. Any other gets a new one, as a copy's name
/// breaks the seal. The rare copy that gets through, an exact one within the minute, is refused at delivery, where no two live pods
/// may have one id; and keeping or renewing an id is never a risk, since every stand-in is derived again from it.
/// </remarks>
public sealed class PodInjector(InjectionOptions options, ReadOnlyMemory<byte> key, TimeProvider time, Func<byte[]> random)
{
    // Longer than the API server waits for all of a request's webhooks together.
    private static readonly TimeSpan SameAdmission = TimeSpan.FromMinutes(1);

    private static readonly string[] Dropped = ["NET_ADMIN", "NET_RAW"];

    private static readonly string[] GuaranteedResources = ["cpu", "memory"];

    /// <summary>Injects into a copy; <paramref name="pod"/> stays as it is.</summary>
    /// <param name="pod">As the API server sends it: no UID yet, and no name where that is made up.</param>
    /// <param name="namespace">Its namespace.</param>
    /// <param name="bindings">What selects it and what it gets.</param>
    /// <param name="secrets">The Superserve Secrets that are bound, by name; those that do not exist are missing.</param>
    public Injection Inject(JsonObject pod, string @namespace, PodBindings bindings, IReadOnlyDictionary<string, SecretIdentity> secrets)
    {
        List<SpecError> errors = [];
        List<string> warnings = [];
        JsonObject result = pod.DeepClone().AsObject();
        JsonObject spec = result.MapOrNew("spec");
        JsonObject annotations = result.MapOrNew("metadata").MapOrNew("annotations");
        string id = IdFor(pod, @namespace);
        CaptureMode capture = options.CaptureFor(spec.Text("runtimeClassName"));

        // 1. Take out what is ours.
        Strip(result, capture);
        RefuseWhatCannotBe(result, errors);

        // 2. Which variables, and what their stand-ins are derived from.
        ImmutableArray<RecordedStandIn> records = Record(result, bindings, secrets, errors, warnings);
        annotations[Marks.SandboxIdAnnotation] = id;
        annotations[Marks.StandInsAnnotation] = RecordedStandIns.Write(records);

        // 3. The user's containers.
        List<(string Name, string Value)> standIns = [.. records.Select(record => (record.Env, record.Derive(key.Span, @namespace, id).Value))];
        foreach ((string path, JsonObject container) in result.UserContainers())
        {
            string name = container.Text("name") ?? "";
            RefuseOwnVariables(path, name, container, records, errors);
            SetEnvironment(container, name, [.. standIns.Where((_, i) => records[i].IsFor(name))], capture, warnings);
            container.ListOrNew("volumeMounts").Add(SidecarParts.TrustMount());
            DropCapabilities(container);
        }

        // 4. The pod around them.
        HardenPod(result, spec);

        // 5. Our own containers, ahead of all others, and their volumes.
        JsonArray initContainers = spec.ListOrNew("initContainers");
        int position = 0;
        foreach (JsonObject container in SidecarParts.Containers(options, capture, Resources(spec))) initContainers.Insert(position++, container);
        JsonArray volumes = spec.ListOrNew("volumes");
        foreach (JsonObject volume in SidecarParts.VolumesFor(options)) volumes.Add(volume);

        // 6. The seal over all of it.
        PodSeal.Set(result, @namespace, key.Span, options.Image);
        return errors.Count == 0 ? new(result, warnings, []) : new(null, [], errors);
    }

    private string IdFor(JsonObject pod, string @namespace)
    {
        string? old = pod.Annotation(Marks.SandboxIdAnnotation);
        DateTimeOffset now = time.GetUtcNow();
        bool isOfThisAdmission = SandboxId.CreatedAt(old) is { } created && (now - created).Duration() <= SameAdmission && PodSeal.Holds(pod, @namespace, key.Span);
        return isOfThisAdmission ? old! : SandboxId.Create(now, random());
    }

    private static void RefuseWhatCannotBe(JsonObject pod, List<SpecError> errors)
    {
        JsonObject? spec = pod.Map("spec");
        if (spec.Map("os").Text("name") == "windows" || spec.Map("nodeSelector").Text("kubernetes.io/os") == "windows")
            errors.Add(new("spec", "this is a Windows pod, and sandboxes run on Linux alone: let no SandboxBinding select it, and remove the label superserve.ai/sandbox"));
        foreach ((string path, JsonObject container) in pod.UserContainers())
        {
            if (container.Text("name")?.StartsWith(Marks.NamePrefix, StringComparison.Ordinal) == true)
                errors.Add(new(path + ".name", $"names that begin with {Marks.NamePrefix} are the sidecar's own: give the container another name"));
            if (container.Items("volumeMounts").Any(mount => mount.Text("mountPath")?.TrimEnd('/') == SidecarParts.TrustDirectory))
                errors.Add(new(path + ".volumeMounts", $"{SidecarParts.TrustDirectory} is where the sidecar's certificates are mounted: mount your volume elsewhere"));
        }
    }

    private static ImmutableArray<RecordedStandIn> Record(
        JsonObject pod, PodBindings bindings, IReadOnlyDictionary<string, SecretIdentity> secrets, List<SpecError> errors, List<string> warnings)
    {
        foreach (VariableConflict conflict in bindings.Conflicts) errors.Add(new("", conflict.ToString()));
        if (bindings.Variables.Length > RecordedStandIns.MaxCount)
            errors.Add(new("", $"the SandboxBindings that select the pod give it {bindings.Variables.Length} variables; at most {RecordedStandIns.MaxCount}: let fewer bindings select it"));

        HashSet<string> containers = [.. pod.UserContainers().Select(item => item.Container.Text("name") ?? "")];
        ImmutableArray<RecordedStandIn>.Builder records = ImmutableArray.CreateBuilder<RecordedStandIn>();
        foreach (BoundVariable variable in bindings.Variables)
        {
            string binding = variable.Binding.Metadata.Name;
            if (ReservedVariables.Holds(variable.Env))
                errors.Add(new("", $"the SandboxBinding {binding}: {ReservedVariables.Refusal(variable.Env)}"));
            if (variable.Containers is { } named)
            {
                string[] absent = [.. named.Where(name => !containers.Contains(name))];
                if (absent.Length == named.Length)
                    errors.Add(new("", $"the SandboxBinding {binding} gives {variable.Env} to {string.Join(", ", named)} alone, and the pod has {string.Join(", ", containers)}: "
                        + "correct secrets[].containers of the binding, or remove it to give the variable to every container"));
                else if (absent.Length > 0) warnings.Add($"the SandboxBinding {binding} gives {variable.Env} to {string.Join(", ", absent)} too, which this pod does not have");
            }

            if (secrets.TryGetValue(variable.SecretName, out SecretIdentity? secret))
                records.Add(new(variable.Env, variable.SecretName, secret.Uid, binding, variable.Binding.Metadata.Uid, secret.Shape, variable.Containers));
            else
                errors.Add(new("", $"the SandboxBinding {binding} gives {variable.Env} the Superserve Secret {variable.SecretName}, which does not exist: create it, or take it out of the binding. "
                    + "A controller makes the pod once it is there."));
        }

        return records.ToImmutable();
    }

    private static void RefuseOwnVariables(string path, string name, JsonObject container, ImmutableArray<RecordedStandIn> records, List<SpecError> errors)
    {
        HashSet<string> own = [.. container.Items("env").Select(entry => entry.Text("name") ?? "")];
        foreach (RecordedStandIn record in records.Where(record => record.IsFor(name) && own.Contains(record.Env)))
            errors.Add(new(path + ".env", $"the container {name} sets {record.Env} itself, and the SandboxBinding {record.BindingName} gives it the Superserve Secret {record.SecretName}: "
                + "remove it from the container, or name another variable in the binding"));
    }

    // Ahead of the user's, so that $(NAME) in them expands. What envFrom brings is weaker than any of these.
    private static void SetEnvironment(JsonObject container, string name, List<(string Name, string Value)> standIns, CaptureMode capture, List<string> warnings)
    {
        JsonArray environment = container.ListOrNew("env");
        // Of entries with one name the last counts.
        Dictionary<string, JsonObject> own = new(StringComparer.Ordinal);
        foreach (JsonObject entry in environment.OfType<JsonObject>()) own[entry.Text("name") ?? ""] = entry;

        List<(string Name, string Value)> added = standIns;
        foreach ((string variable, string value) in TrustVariables.In(SidecarParts.TrustDirectory))
            if (!own.ContainsKey(variable)) added.Add((variable, value));
            else warnings.Add($"{name} sets {variable}: what reads it has to trust {SidecarParts.TrustDirectory}/{TrustVariables.AuthorityFile} too");

        string javaOptions = TrustVariables.JavaOptions(SidecarParts.TrustDirectory);
        if (!own.TryGetValue(TrustVariables.JavaToolOptions, out JsonObject? java)) added.Add((TrustVariables.JavaToolOptions, javaOptions));
        else if (java.ContainsKey("valueFrom")) warnings.Add($"{name} takes {TrustVariables.JavaToolOptions} from elsewhere: add {javaOptions} there");
        else java["value"] = $"{java.Text("value")} {javaOptions}";

        if (capture == CaptureMode.Explicit)
            foreach ((string variable, string value) in ProxyVariables)
                if (!own.ContainsKey(variable)) added.Add((variable, value));
                else warnings.Add($"{name} sets {variable}: requests that go that way carry the stand-in, which no service takes");

        for (int i = 0; i < added.Count; i++) environment.Insert(i, new JsonObject { ["name"] = added[i].Name, ["value"] = added[i].Value });
    }

    private static IEnumerable<(string Name, string Value)> ProxyVariables =>
        [.. TrustVariables.ProxyNames.Select(name => (name, "http://127.0.0.1:16002")), (TrustVariables.NodeUseProxy, "1")];

    private static void DropCapabilities(JsonObject container)
    {
        JsonArray dropped = container.MapOrNew("securityContext").MapOrNew("capabilities").ListOrNew("drop");
        HashSet<string> already = new(container.Map("securityContext").Map("capabilities").Texts("drop"), StringComparer.OrdinalIgnoreCase);
        if (already.Contains("ALL")) return;
        foreach (string capability in Dropped.Where(capability => !already.Contains(capability))) dropped.Add(capability);
    }

    private static void HardenPod(JsonObject pod, JsonObject spec)
    {
        JsonObject security = spec.MapOrNew("securityContext");
        if (security["seccompProfile"] is null) security["seccompProfile"] = new JsonObject { ["type"] = "RuntimeDefault" };

        // The API server's own admission has added its token by now, and would add it again unless the pod says no.
        if (spec["automountServiceAccountToken"] is null)
        {
            spec["automountServiceAccountToken"] = false;
            RemoveVolumes(pod, volume => volume.Text("name")?.StartsWith("kube-api-access-", StringComparison.Ordinal) == true
                && volume.Map("projected").Items("sources").Any(source => source.ContainsKey("serviceAccountToken")));
        }

        // A second proxy in the pod would need NET_ADMIN, and see what is ours to see.
        JsonObject labels = pod.MapOrNew("metadata").MapOrNew("labels");
        labels["sidecar.istio.io/inject"] = "false";
        labels["istio.io/dataplane-mode"] = "none";
        pod.MapOrNew("metadata").MapOrNew("annotations")["sidecar.istio.io/inject"] = "false";
    }

    /// <summary>
    /// What our containers ask for. A pod of the class Guaranteed stays one only if they ask for as much as they may use; one that
    /// bounds itself as a whole shares that with them.
    /// </summary>
    private JsonObject? Resources(JsonObject spec)
    {
        if (spec.Map("resources") is { Count: > 0 }) return null;
        bool isGuaranteed = spec.Items("containers").Concat(spec.Items("initContainers")).All(IsGuaranteed);
        if (!isGuaranteed) return new JsonObject { ["requests"] = Quantities(options.Requests), ["limits"] = Quantities(options.Limits) };
        SortedDictionary<string, string> all = new(options.Requests.ToDictionary(), StringComparer.Ordinal);
        foreach ((string resource, string quantity) in options.Limits) all[resource] = quantity;
        return new JsonObject { ["requests"] = Quantities(all), ["limits"] = Quantities(all) };
    }

    private static bool IsGuaranteed(JsonObject container)
    {
        JsonObject? requests = container.Map("resources").Map("requests");
        JsonObject? limits = container.Map("resources").Map("limits");
        return GuaranteedResources.All(resource => limits?[resource] is { } limit && (requests?[resource] is not { } request || JsonNode.DeepEquals(request, limit)));
    }

    private static JsonObject Quantities(IEnumerable<KeyValuePair<string, string>> quantities) =>
        new(quantities.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => KeyValuePair.Create<string, JsonNode?>(pair.Key, pair.Value)));

    /// <summary>Takes out what <see cref="Inject"/> has put in, and what the user wrote just as it would, which comes back.</summary>
    private static void Strip(JsonObject pod, CaptureMode capture)
    {
        bool wasExplicit = pod.IsMarked() && !pod.Map("spec").Items("initContainers").Any(container => container.Text("name") == Marks.InitContainer);
        if (pod.Map("spec")?["initContainers"] is JsonArray initContainers)
            foreach (JsonObject container in initContainers.OfType<JsonObject>().Where(PodJson.IsOurs).ToList()) initContainers.Remove(container);
        RemoveVolumes(pod, volume => SidecarParts.Volumes.Contains(volume.Text("name")));

        // A record that cannot be read is nobody's: its variables are refused as the container's own.
        RecordedStandIns.TryRead(pod.Annotation(Marks.StandInsAnnotation), out ImmutableArray<RecordedStandIn> records, out _);
        Dictionary<string, string> ours = TrustVariables.In(SidecarParts.TrustDirectory)
            .Concat(capture == CaptureMode.Explicit || wasExplicit ? ProxyVariables : []).ToDictionary(pair => pair.Name, pair => pair.Value);
        foreach ((_, JsonObject container) in pod.UserContainers())
            if (container["env"] is JsonArray environment)
                foreach (JsonObject entry in environment.OfType<JsonObject>().Where(entry => !entry.ContainsKey("valueFrom")).ToList())
                    StripVariable(environment, entry, container.Text("name") ?? "", records, ours);
    }

    private static void StripVariable(
        JsonArray environment, JsonObject entry, string container, ImmutableArray<RecordedStandIn> records, Dictionary<string, string> ours)
    {
        string variable = entry.Text("name") ?? "";
        string value = entry.Text("value") ?? "";
        if (records.Any(record => record.Env == variable && record.IsFor(container)) || ours.GetValueOrDefault(variable) == value) environment.Remove(entry);
        else if (variable == TrustVariables.JavaToolOptions)
        {
            string added = $" {TrustVariables.JavaOptions(SidecarParts.TrustDirectory)}";
            if (value.Length == 0 || value == added[1..]) environment.Remove(entry);
            else if (value.EndsWith(added, StringComparison.Ordinal)) entry["value"] = value[..^added.Length];
        }
    }

    private static void RemoveVolumes(JsonObject pod, Func<JsonObject, bool> isTaken)
    {
        if (pod.Map("spec")?["volumes"] is not JsonArray volumes) return;
        List<JsonObject> taken = [.. volumes.OfType<JsonObject>().Where(isTaken)];
        HashSet<string> names = [.. taken.Select(volume => volume.Text("name") ?? "")];
        foreach (JsonObject volume in taken) volumes.Remove(volume);
        foreach ((_, JsonObject container) in pod.UserContainers())
            if (container["volumeMounts"] is JsonArray mounts)
                foreach (JsonObject mount in mounts.OfType<JsonObject>().Where(mount => names.Contains(mount.Text("name") ?? "")).ToList()) mounts.Remove(mount);
    }
}
