using System.Text.Json;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Admission.Pods;
using Superserve.Operator.Configuration;
using Superserve.Testing;
using YamlDotNet.Serialization;

namespace Superserve.Integration.Tests;

/// <summary>What the Helm chart renders, and that the API server takes it.</summary>
public sealed class ChartTests(TestCluster cluster)
{
    private const string Release = "superserve-chart";
    private const string OwnNamespace = "superserve-system";

    /// <summary>What Pod Security's level restricted lets a pod mount.</summary>
    private static readonly string[] RestrictedVolumes =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

    private static readonly string Version = XDocument.Load(Repository.PathTo("Directory.Build.props")).Descendants("Version").Single().Value;

    /// <summary>Values, from the default on, that change most of what is rendered.</summary>
    public static TheoryData<string> Installations =>
    [
        "replicas=2",
        "webhook.url=https://192.0.2.1:16443",
        "coreSecrets.clusterWide=false,coreSecrets.namespaces={agents},coreSecrets.names.builds={npm}",
        "crds.enabled=false,podLabels.team=a,podAnnotations.note=b,imagePullSecrets[0].name=registry,priorityClassName=high",
        "audit.enabled=false",
        "audit.mode=Required,audit.replicas=3,audit.postgres.secretName=database,audit.aggregateToView=true,audit.stdout=true,audit.otlp.endpoint=http://collector:4317",
    ];

    [Fact]
    public async Task Helm_finds_no_fault_with_it()
    {
        Outcome outcome = await Tool.Helm.RunAsync("", new Dictionary<string, string>(), "lint", "--strict", Repository.PathTo("charts/superserve"));
        Assert.True(outcome.Status == 0, outcome.ToString());
    }

    [Fact]
    public void Its_resource_definitions_are_those_of_the_repository()
    {
        string[] ours = Names("crds"), charts = Names("charts/superserve/files/crds");
        Assert.Equal(ours, charts);
        Assert.NotEmpty(ours);
        foreach (string name in ours)
            Assert.Equal(File.ReadAllBytes(Repository.PathTo($"crds/{name}")), File.ReadAllBytes(Repository.PathTo($"charts/superserve/files/crds/{name}")));

        static string[] Names(string folder) => [.. Directory.EnumerateFiles(Repository.PathTo(folder)).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public async Task Resource_definitions_are_rendered_whole_and_stay_when_the_release_goes()
    {
        List<JsonObject> rendered = OfKind(await RenderAsync(), "CustomResourceDefinition");
        string[] files = Directory.GetFiles(Repository.PathTo("crds"));
        Assert.Equal(files.Length, rendered.Count);
        foreach (string file in files)
        {
            JsonObject source = Parse(await File.ReadAllTextAsync(file));
            JsonObject crd = Named(rendered, (string)source["metadata"]!["name"]!);
            JsonObject annotations = crd["metadata"]!["annotations"]!.AsObject();
            Assert.Equal("keep", (string?)annotations["helm.sh/resource-policy"]);
            annotations.Remove("helm.sh/resource-policy");
            if (annotations.Count == 0) crd["metadata"]!.AsObject().Remove("annotations");
            Assert.True(JsonNode.DeepEquals(source, crd), $"{file} is rendered as\n{crd}");
        }
    }

    [Fact]
    public async Task Resource_definitions_can_be_left_out() =>
        Assert.Empty(OfKind(await RenderAsync("crds.enabled=false"), "CustomResourceDefinition"));

    // Helm applies server-side: what the chart renders is the chart's, and the operator's own writing would be a conflict.
    [Theory]
    [MemberData(nameof(Installations))]
    public async Task What_the_operator_writes_is_not_rendered(string values)
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync(values);
        Assert.All(rendered, manifest => Assert.DoesNotContain("caBundle", manifest.ToJsonString(), StringComparison.Ordinal));
        Assert.Empty(OfKind(rendered, "Secret"));
        Assert.Empty(OfKind(rendered, "Lease"));
    }

    [Theory]
    [MemberData(nameof(Installations))]
    public async Task The_API_server_takes_all_of_it(string values)
    {
        await using TestNamespace own = await cluster.NewNamespaceAsync();
        await using TestNamespace agents = await cluster.NewNamespaceAsync();
        string here = values.Replace("{agents}", $"{{{agents.Name}}}", StringComparison.Ordinal).Replace(".builds=", $".{agents.Name}=", StringComparison.Ordinal);
        IReadOnlyList<string> manifests = await Chart.RenderAsync(Release, own.Name, here);
        // In place of what is installed, which may be another release's.
        string taken = await cluster.Kubectl.FeedAsync(string.Join("\n---\n", manifests), "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "name", "-f", "-");
        Assert.Equal(manifests.Count, taken.Split('\n').Length);
    }

    [Theory]
    [MemberData(nameof(Installations))]
    public async Task No_role_has_a_wildcard(string values) =>
        Assert.All(Rules(OfKind(await RenderAsync(values), "Role", "ClusterRole")), rule => Assert.DoesNotContain("*", rule.ToJsonString(), StringComparison.Ordinal));

    [Fact]
    public async Task Core_Secrets_are_read_in_every_namespace_unless_values_say_otherwise()
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync();
        JsonObject rule = Assert.Single(CoreSecretRules(OfKind(rendered, "ClusterRole")));
        Assert.Equal(["get", "list", "watch"], Strings(rule["verbs"]));
        Assert.Equal([OwnNamespace], Namespaces(OfKind(rendered, "Role")));
    }

    [Fact]
    public async Task Without_clusterWide_only_its_own_Secrets_are_the_operators()
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync("coreSecrets.clusterWide=false");
        Assert.Empty(CoreSecretRules(OfKind(rendered, "ClusterRole")));
        Assert.Equal([OwnNamespace], Namespaces(OfKind(rendered, "Role")));
        // A create cannot be limited to a name; everything else is.
        Assert.All(CoreSecretRules(OfKind(rendered, "Role")), rule =>
        {
            if (Strings(rule["verbs"]) is not ["create"]) Assert.Equal(["superserve-ca", "superserve-stand-in-key", "superserve-audit-serving"], Strings(rule["resourceNames"]));
        });
    }

    [Fact]
    public async Task Core_Secrets_are_read_where_values_name_the_namespaces_or_the_Secrets()
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync(
            "coreSecrets.clusterWide=false", "coreSecrets.namespaces={agents,builds}", "coreSecrets.names.notebooks={openai,github}");
        Assert.Empty(CoreSecretRules(OfKind(rendered, "ClusterRole")));
        List<JsonObject> roles = [.. OfKind(rendered, "Role").Where(role => (string?)role["metadata"]!["namespace"] != OwnNamespace)];
        Assert.Equal(["agents", "builds", "notebooks"], Namespaces(roles));
        foreach (JsonObject role in roles)
        {
            string inNamespace = (string)role["metadata"]!["namespace"]!, name = (string)role["metadata"]!["name"]!;
            JsonObject rule = Assert.Single(Rules([role]));
            Assert.Equal(["secrets"], Strings(rule["resources"]));
            Assert.Equal(["get", "list", "watch"], Strings(rule["verbs"]));
            Assert.Equal(inNamespace == "notebooks" ? ["openai", "github"] : [], Strings(rule["resourceNames"]));

            JsonObject binding = Assert.Single(OfKind(rendered, "RoleBinding"), binding => (string?)binding["metadata"]!["namespace"] == inNamespace);
            Assert.Equal(("Role", name), ((string?)binding["roleRef"]!["kind"], (string?)binding["roleRef"]!["name"]));
            JsonNode subject = Assert.Single(binding["subjects"]!.AsArray())!;
            JsonObject account = Named(OfKind(rendered, "ServiceAccount"), "superserve-operator");
            Assert.Equal(((string?)account["metadata"]!["name"], OwnNamespace), ((string?)subject["name"], (string?)subject["namespace"]));
        }
    }

    [Fact]
    public async Task The_audit_log_is_on_a_claim_where_the_cluster_can_fill_one_and_otherwise_on_the_pods_own_disk()
    {
        // Neither asks a real cluster to have other StorageClasses than it has.
        await using ApiServer.EmbeddedApiServer server = await ApiServer.EmbeddedApiServer.StartAsync();
        string without = await DryRunAsync();
        Assert.DoesNotContain("kind: PersistentVolumeClaim", without, StringComparison.Ordinal);
        Assert.Contains("are lost when its pod goes: the cluster has no default StorageClass", without, StringComparison.Ordinal);
        Assert.Contains("kind: PersistentVolumeClaim", await DryRunAsync("audit.persistence.storageClass=fast"), StringComparison.Ordinal);
        await server.ApplyAsync("""
            apiVersion: storage.k8s.io/v1
            kind: StorageClass
            metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
            provisioner: example.com/none
            """);
        string with = await DryRunAsync();
        Assert.Contains("kind: PersistentVolumeClaim", with, StringComparison.Ordinal);
        Assert.DoesNotContain("are lost", with, StringComparison.Ordinal);
        Assert.Contains("are lost when its pod goes. To keep them", await DryRunAsync("audit.persistence.enabled=false"), StringComparison.Ordinal);
        Assert.Contains("kind: PersistentVolumeClaim", string.Join('\n', await Chart.RenderAsync(Release, OwnNamespace)), StringComparison.Ordinal);

        async Task<string> DryRunAsync(params string[] values)
        {
            string[] arguments = ["install", Release, Repository.PathTo("charts/superserve"), "-n", "default", "--dry-run=server", "--kubeconfig", server.KubeconfigPath, .. values.SelectMany(value => (string[])["--set", value])];
            Outcome outcome = await Tool.Helm.RunAsync("", new Dictionary<string, string>(), arguments);
            Assert.True(outcome.Status == 0, outcome.ToString());
            return outcome.Output;
        }
    }

    [Theory]
    [InlineData("superserve-operator", "replicas=2")]
    [InlineData("superserve-operator", "certManager.enabled=true,certManager.issuerRef.name=internal")]
    [InlineData("superserve-audit", "replicas=2")]
    [InlineData("superserve-audit", "audit.persistence.enabled=false")]
    [InlineData("superserve-audit", "audit.postgres.secretName=database")]
    public async Task Its_pods_meet_Pod_Security_restricted(string deployment, string values)
    {
        JsonNode pod = await PodAsync(deployment, values);
        foreach (string field in (string[])["hostNetwork", "hostPID", "hostIPC"]) Assert.Null(pod[field]);
        JsonNode context = pod["securityContext"]!;
        Assert.True((bool)context["runAsNonRoot"]!);
        Assert.NotEqual(0, (int)context["runAsUser"]!);
        Assert.Equal("RuntimeDefault", (string?)context["seccompProfile"]!["type"]);
        Assert.Null(context["sysctls"]);
        Assert.All(pod["volumes"]!.AsArray(), volume => Assert.Contains(volume!.AsObject().Single(field => field.Key != "name").Key, RestrictedVolumes));
        Assert.All(Containers(pod), container =>
        {
            JsonObject own = container["securityContext"]!.AsObject();
            Assert.False((bool)own["allowPrivilegeEscalation"]!);
            Assert.True((bool)own["readOnlyRootFilesystem"]!);
            Assert.Equal(["ALL"], Strings(own["capabilities"]!["drop"]));
            Assert.Null(own["capabilities"]!["add"]);
            // What the pod says holds for each container.
            foreach (string field in (string[])["privileged", "runAsUser", "runAsNonRoot", "seccompProfile", "procMount", "seLinuxOptions"]) Assert.Null(own[field]);
            Assert.All(container["ports"]!.AsArray(), port => Assert.Null(port!["hostPort"]));
        });
    }

    [Fact]
    public async Task The_images_are_those_that_are_built()
    {
        Assert.Equal($"ghcr.io/superserve-k8s/superserve-operator:{Version}", (string?)Containers(await OperatorPodAsync()).Single()["image"]);
        JsonNode options = JsonNode.Parse(await ConfigAsync("operator.json"))!;
        Assert.Equal($"ghcr.io/superserve-k8s/superserve-sidecar:{Version}", (string?)options["sidecar"]!["image"]);
    }

    [Fact]
    public async Task A_mirror_and_a_tag_of_ones_own_replace_them()
    {
        string[] values = ["image.repository=registry.example.com/operator", "image.tag=v9", "sidecar.image.repository=registry.example.com/sidecar", "sidecar.image.tag=v8"];
        Assert.Equal("registry.example.com/operator:v9", (string?)Containers(await OperatorPodAsync(values)).Single()["image"]);
        Assert.Equal("registry.example.com/sidecar:v8", (string?)JsonNode.Parse(await ConfigAsync("operator.json", values))!["sidecar"]!["image"]);
    }

    [Theory]
    [MemberData(nameof(Installations))]
    public async Task The_operator_reads_the_options_that_are_rendered(string values)
    {
        string file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, await ConfigAsync("operator.json", values));
            OperatorOptions options = OptionsReader.Read(file);
            Assert.Equal(OwnNamespace, options.Namespace);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("", CaptureMode.Transparent, "", false)]
    [InlineData("sidecar.explicitRuntimeClasses={gvisor,kata-fc},sidecar.netAdmin=true", CaptureMode.Transparent, "gvisor,kata-fc", true)]
    [InlineData("sidecar.capture=Explicit", CaptureMode.Explicit, "", false)]
    public async Task Sandboxes_are_captured_transparently_unless_values_say_otherwise(string values, CaptureMode capture, string explicitClasses, bool netAdmin)
    {
        string file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, await ConfigAsync("operator.json", values));
            SidecarOptions sidecar = OptionsReader.Read(file).Sidecar;
            Assert.Equal((capture, explicitClasses, netAdmin), (sidecar.Capture, string.Join(',', sidecar.ExplicitRuntimeClasses), sidecar.NetAdmin));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Providers_of_ones_own_become_a_catalog_that_the_operator_reads()
    {
        string[] values =
        [
            "providers[0].name=acme", "providers[0].source=https://acme.example.com/docs", "providers[0].token=acme_{base62:32}",
            "providers[0].hosts[0].hosts={api.acme.example.com}", "providers[0].hosts[0].accepts[0].type=bearer",
        ];
        List<SpecError> errors = [];
        ProviderCatalog? catalog = ProviderCatalog.TryParse(System.Text.Encoding.UTF8.GetBytes(await ConfigAsync("providers.json", values)), errors);
        Assert.Empty(errors);
        Assert.Equal(["acme"], catalog!.Providers.Select(provider => provider.Name));

        // The operator is told of the file, where the pod has it.
        string file = (string)JsonNode.Parse(await ConfigAsync("operator.json", values))!["providersFile"]!;
        JsonNode mount = Assert.Single(Containers(await OperatorPodAsync(values)).Single()["volumeMounts"]!.AsArray(), mount => (string?)mount!["name"] == "config")!;
        Assert.Equal($"{mount["mountPath"]}/providers.json", file);
    }

    [Fact]
    public async Task A_change_of_the_options_restarts_the_operator() =>
        Assert.NotEqual(await ChecksumAsync(), await ChecksumAsync("clusterDomain=example.org"));

    [Fact]
    public async Task The_audit_service_is_told_where_it_keeps_what_and_for_how_long()
    {
        JsonNode options = JsonNode.Parse(await ConfigAsync("audit.json", "audit.retention.days=7", "audit.retention.size=20Gi"))!;
        Assert.Equal((7, 20L << 30, "superserve-operator", OwnNamespace), ((int)options["retentionDays"]!, (long)options["maxBytes"]!, (string?)options["operatorServiceAccount"], (string?)options["namespace"]));
        JsonNode pod = await PodAsync("superserve-audit");
        JsonArray mounts = Assert.Single(Containers(pod))["volumeMounts"]!.AsArray();
        Assert.StartsWith((string)Mount("data")["mountPath"]!, (string)options["sqliteFile"]!, StringComparison.Ordinal);
        Assert.Equal((string?)options["certificateDirectory"], (string?)Mount("serving")["mountPath"]);
        Assert.Equal("superserve-audit-serving", (string?)Volume(pod, "serving")["secret"]!["secretName"]);
        Assert.Equal("superserve-audit", (string?)Volume(pod, "data")["persistentVolumeClaim"]!["claimName"]);
        // A writer alone: the old pod ends before the new one begins.
        IReadOnlyList<JsonObject> rendered = await RenderAsync();
        Assert.Equal("Recreate", (string?)Named(OfKind(rendered, "Deployment"), "superserve-audit")["spec"]!["strategy"]!["type"]);
        JsonObject claim = Assert.Single(OfKind(rendered, "PersistentVolumeClaim"));
        Assert.Equal("keep", (string?)claim["metadata"]!["annotations"]!["helm.sh/resource-policy"]);

        JsonNode Mount(string name) => Assert.Single(mounts, mount => (string?)mount!["name"] == name)!;
    }

    [Fact]
    public async Task With_a_database_no_claim_is_made_and_replicas_roll()
    {
        string[] values = ["audit.replicas=3", "audit.postgres.secretName=database", "audit.postgres.key=url"];
        IReadOnlyList<JsonObject> rendered = await RenderAsync(values);
        Assert.Empty(OfKind(rendered, "PersistentVolumeClaim"));
        JsonObject deployment = Named(OfKind(rendered, "Deployment"), "superserve-audit");
        Assert.Equal((3, "RollingUpdate"), ((int)deployment["spec"]!["replicas"]!, (string?)deployment["spec"]!["strategy"]!["type"]));
        JsonNode options = JsonNode.Parse(await ConfigAsync("audit.json", values))!;
        Assert.Equal("/etc/superserve-postgres/url", (string?)options["postgresConnectionStringFile"]);
        Assert.Null(options["sqliteFile"]);
        Assert.Equal("database", (string?)Volume(deployment["spec"]!["template"]!["spec"]!, "postgres")["secret"]!["secretName"]);
    }

    [Theory]
    [InlineData("audit.replicas=2", "SQLite has one writer")]
    [InlineData("audit.mode=Sometimes", "BestEffort or Required")]
    [InlineData("audit.retention.size=8", "Mi, Gi or Ti")]
    [InlineData("certManager.enabled=true", "issuerRef")]
    public async Task Values_that_cannot_be_are_refused_with_what_to_change(string values, string words)
    {
        Outcome outcome = await Tool.Helm.RunAsync("", new Dictionary<string, string>(), "template", Release, Repository.PathTo("charts/superserve"), "--set", values);
        Assert.NotEqual(0, outcome.Status);
        Assert.Contains(words, outcome.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("audit.enabled=true", true)]
    [InlineData("audit.enabled=false", false)]
    public async Task The_audit_log_is_there_unless_values_say_otherwise(string values, bool isThere)
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync(values);
        JsonNode options = JsonNode.Parse(await ConfigAsync("operator.json", values))!;
        Assert.Equal(isThere ? $"superserve-audit.{OwnNamespace}.svc:16446" : null, (string?)options["auditAddress"]);
        Assert.Equal((string?)options["auditAddress"], (string?)options["sidecar"]!["auditAddress"]);
        // An APIService that nobody answers would keep every namespace of the cluster from going.
        Assert.Equal(isThere, OfKind(rendered, "APIService").Count == 1);
        Assert.Equal(isThere, rendered.Any(manifest => (string?)manifest["metadata"]!["name"] == "superserve-audit"));
        Assert.Equal(isThere, rendered.Any(manifest => (string?)manifest["metadata"]!["namespace"] == "kube-system"));
    }

    [Fact]
    public async Task The_API_server_finds_the_audit_log_at_the_operators_port_and_the_operator_has_a_token_for_the_audit_service()
    {
        string[] values = ["audit.apiPort=26445"];
        IReadOnlyList<JsonObject> rendered = await RenderAsync(values);
        JsonNode service = Assert.Single(OfKind(rendered, "APIService"))["spec"]!["service"]!;
        Assert.Equal(("superserve-operator", 26445), ((string?)service["name"], (int)service["port"]!));
        JsonNode port = Assert.Single(Named(OfKind(rendered, "Service"), "superserve-operator")["spec"]!["ports"]!.AsArray(), port => (int)port!["port"]! == 26445)!;
        JsonObject container = Containers(await OperatorPodAsync(values)).Single();
        Assert.Equal(26445, (int)Assert.Single(container["ports"]!.AsArray(), entry => (string?)entry!["name"] == (string?)port["targetPort"])!["containerPort"]!);
        Assert.Equal(26445, (int)JsonNode.Parse(await ConfigAsync("operator.json", values))!["auditApiPort"]!);

        JsonNode token = Volume(await OperatorPodAsync(), "audit-token")["projected"]!["sources"]![0]!["serviceAccountToken"]!;
        Assert.Equal("superserve.ai", (string?)token["audience"]);
        JsonNode mount = Assert.Single(container["volumeMounts"]!.AsArray(), mount => (string?)mount!["name"] == "audit-token")!;
        Assert.Equal(new OperatorOptions().AuditTokenFile, $"{mount["mountPath"]}/{token["path"]}");
    }

    [Theory]
    [InlineData("audit.aggregateToView=false", false)]
    [InlineData("audit.aggregateToView=true", true)]
    public async Task The_logs_are_read_by_whom_the_viewers_role_is_bound_to_and_by_viewers_where_a_value_says_so(string values, bool isAggregated)
    {
        JsonObject role = Named(OfKind(await RenderAsync(values), "ClusterRole"), "superserve-audit-viewer");
        JsonObject rule = Assert.Single(Rules([role]));
        Assert.Equal(["get", "list"], Strings(rule["verbs"]));
        Assert.Equal(["secretrequests", "networkevents"], Strings(rule["resources"]));
        Assert.Equal(isAggregated, role["metadata"]!["labels"]!["rbac.authorization.k8s.io/aggregate-to-view"] is not null);
    }

    [Fact]
    public async Task The_audit_service_may_review_tokens_and_nothing_else()
    {
        IReadOnlyList<JsonObject> rendered = await RenderAsync();
        JsonObject rule = Assert.Single(Rules([Named(OfKind(rendered, "ClusterRole"), "superserve-audit")]));
        Assert.Equal(["tokenreviews"], Strings(rule["resources"]));
        Assert.Equal(["create"], Strings(rule["verbs"]));
        Assert.DoesNotContain(OfKind(rendered, "RoleBinding"), binding => (string?)binding["subjects"]![0]!["name"] == "superserve-audit");
    }

    [Fact]
    public async Task With_cert_manager_certificates_and_CA_bundles_are_its_own()
    {
        string[] values = ["certManager.enabled=true", "certManager.issuerRef.kind=ClusterIssuer", "certManager.issuerRef.name=internal"];
        IReadOnlyList<JsonObject> rendered = await RenderAsync(values);
        List<JsonObject> certificates = OfKind(rendered, "Certificate");
        Assert.Equal(["superserve-audit-serving", "superserve-serving"], certificates.Select(certificate => (string?)certificate["spec"]!["secretName"]).Order(StringComparer.Ordinal));
        Assert.All(certificates, certificate => Assert.Contains($"{certificate["metadata"]!["name"]}.{OwnNamespace}.svc", Strings(certificate["spec"]!["dnsNames"])));
        Assert.All(
            OfKind(rendered, "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"),
            manifest => Assert.Equal($"{OwnNamespace}/superserve-operator", (string?)manifest["metadata"]!["annotations"]!["cert-manager.io/inject-ca-from"]));
        string directory = (string)JsonNode.Parse(await ConfigAsync("operator.json", values))!["certificateDirectory"]!;
        Assert.Equal(directory, (string?)Assert.Single(Containers(await OperatorPodAsync(values)).Single()["volumeMounts"]!.AsArray(), mount => (string?)mount!["name"] == "serving")!["mountPath"]);
    }

    private static JsonNode Volume(JsonNode pod, string name) => Assert.Single(pod["volumes"]!.AsArray(), volume => (string?)volume!["name"] == name)!;

    private static async Task<string> ChecksumAsync(params string[] values) =>
        (string)Named(OfKind(await RenderAsync(values), "Deployment"), "superserve-operator")["spec"]!["template"]!["metadata"]!["annotations"]!["checksum/config"]!;

    private static Task<JsonNode> OperatorPodAsync(params string[] values) => PodAsync("superserve-operator", values);

    private static async Task<JsonNode> PodAsync(string deployment, params string[] values) =>
        Named(OfKind(await RenderAsync(values), "Deployment"), deployment)["spec"]!["template"]!["spec"]!;

    private static async Task<string> ConfigAsync(string file, params string[] values) =>
        (string)Assert.Single(OfKind(await RenderAsync(values), "ConfigMap").Select(config => config["data"]![file]), data => data is not null)!;

    private static async Task<IReadOnlyList<JsonObject>> RenderAsync(params string[] values) =>
        [.. (await Chart.RenderAsync(Release, OwnNamespace, values)).Select(Parse)];

    private static JsonObject Parse(string yaml) =>
        JsonSerializer.SerializeToNode(new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize<object>(yaml))!.AsObject();

    private static List<JsonObject> OfKind(IEnumerable<JsonObject> manifests, params string[] kinds) =>
        [.. manifests.Where(manifest => kinds.Contains((string?)manifest["kind"]))];

    private static JsonObject Named(IEnumerable<JsonObject> manifests, string name) =>
        Assert.Single(manifests, manifest => (string?)manifest["metadata"]!["name"] == name);

    private static string?[] Namespaces(IEnumerable<JsonObject> manifests) =>
        [.. manifests.Select(manifest => (string?)manifest["metadata"]!["namespace"]).Order(StringComparer.Ordinal)];

    private static IEnumerable<JsonObject> Containers(JsonNode pod) =>
        ((JsonNode?[])[.. pod["initContainers"]?.AsArray() ?? [], .. pod["containers"]!.AsArray()]).Select(container => container!.AsObject());

    private static IEnumerable<JsonObject> Rules(IEnumerable<JsonObject> roles) => roles.SelectMany(role => role["rules"]!.AsArray()).Select(rule => rule!.AsObject());

    private static IEnumerable<JsonObject> CoreSecretRules(IEnumerable<JsonObject> roles) =>
        Rules(roles).Where(rule => Strings(rule["apiGroups"]).Contains("") && Strings(rule["resources"]).Contains("secrets"));

    private static string[] Strings(JsonNode? array) => array is null ? [] : [.. array.AsArray().Select(item => (string)item!)];
}
