using System.Security.Cryptography.X509Certificates;
using System.Text;
using Superserve.ApiServer;
using Superserve.Core.Providers;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Admission;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>
/// An API server with the CRDs, the roles and the webhook configuration as they are shipped, the endpoints behind it, and people
/// with different rights. The operator has no more rights than admission needs.
/// </summary>
public sealed class AdmissionCluster : IAsyncLifetime
{
    public const string Namespace = "agents";

    /// <summary>Has the role edit in the namespace.</summary>
    public const string Editor = "ann";

    /// <summary>May write the resources, and neither read core Secrets nor use Superserve Secrets.</summary>
    public const string Writer = "dev";

    /// <summary>The same, and may get the core Secret <c>credentials</c> and use the Superserve Secret <c>known</c>.</summary>
    public const string Trusted = "eve";

    private const string People = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: agents}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: operator}
        rules:
        - {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
        - {apiGroups: [superserve.ai], resources: [secrets], verbs: [get]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: operator}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: operator}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: editors, namespace: agents}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {name: writer, namespace: agents}
        rules: [{apiGroups: [superserve.ai], resources: [secrets, sandboxbindings], verbs: [get, list, create, update, patch, delete]}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: writers, namespace: agents}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {name: trusted, namespace: agents}
        rules:
        - {apiGroups: [""], resources: [secrets], resourceNames: [credentials], verbs: [get]}
        - {apiGroups: [superserve.ai], resources: [secrets], resourceNames: [known], verbs: [use]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {name: trusted, namespace: agents}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: trusted}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
        ---
        apiVersion: superserve.ai/v1alpha1
        kind: Secret
        metadata: {name: known, namespace: agents}
        spec: {valueFrom: {secretKeyRef: {name: credentials, key: token}}, provider: anthropic}
        """;

    private X509Certificate2 _certificate = null!;
    private AdmissionServer _webhook = null!;

    public EmbeddedApiServer Server { get; private set; } = null!;

    /// <summary>The operator's own.</summary>
    public KubernetesConnection Connection { get; private set; } = null!;

    internal SecretValidator Secrets { get; private set; } = null!;

    internal BindingValidator Bindings { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Server = await EmbeddedApiServer.StartAsync();
        IReadOnlyList<string> manifests = await Chart.RenderAsync("superserve", "superserve-system");
        foreach (string manifest in manifests.Where(manifest => Chart.IsKind(manifest, "CustomResourceDefinition", "ClusterRole"))) await Server.ApplyAsync(manifest);
        await Server.ApplyAsync(People);
        foreach (string user in (string[])["operator", Editor, Writer, Trusted]) Server.AddUser(user);

        Server.WriteKubeconfig("operator", KubeconfigOf("operator"));
        Connection = KubernetesConnection.FromKubeconfig(TimeProvider.System, KubeconfigOf("operator"));
        AccessReviewer access = new(Connection);
        Secrets = new SecretValidator(ProviderCatalog.BuiltIn, access);
        Bindings = new BindingValidator(access, Connection, TimeProvider.System);

        _certificate = TestAuthority.Issue("superserve-operator.superserve-system.svc");
        _webhook = await AdmissionServer.StartAsync([(AdmissionEndpoints.SecretsPath, Secrets), (AdmissionEndpoints.BindingsPath, Bindings)], _certificate);
        Server.Services.Map("superserve-system", "superserve-operator", _webhook.EndPoint);
        string caBundle = Convert.ToBase64String(Encoding.ASCII.GetBytes(TestAuthority.Pem));
        string configuration = manifests.Single(manifest => Chart.IsKind(manifest, "ValidatingWebhookConfiguration"));
        await Server.ApplyAsync(configuration.Replace("port: 443}", $"port: 443}}\n    caBundle: {caBundle}", StringComparison.Ordinal));
    }

    /// <summary>kubectl as one of the people.</summary>
    internal Kubectl As(string user)
    {
        Server.WriteKubeconfig(user, KubeconfigOf(user));
        return new Kubectl(KubeconfigOf(user));
    }

    public async ValueTask DisposeAsync()
    {
        Connection.Dispose();
        await _webhook.DisposeAsync();
        _certificate.Dispose();
        await Server.DisposeAsync();
    }

    private string KubeconfigOf(string user) => $"{Server.KubeconfigPath}-{user}";
}
