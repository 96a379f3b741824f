namespace Superserve.Integration.Tests;

/// <summary>Who may send a credential where: the rights of the author of a resource.</summary>
public sealed class AccessTests(TestCluster cluster)
{
    [Fact]
    public async Task Who_may_not_read_a_credential_may_not_send_it_anywhere()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.CredentialAsync("credentials", "token", "the-first-credential");
        await AllowAsync(ns, "writer", "dev", """[{apiGroups: [superserve.ai], resources: [secrets, sandboxbindings], verbs: [get, list, create, update, patch]}]""");
        string errors = await ns.Kubectl.FailAsync(Secret, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=dev");
        Assert.Contains("credentials", errors, StringComparison.Ordinal);
        Assert.Contains("get", errors, StringComparison.Ordinal);

        await AllowAsync(ns, "reader", "dev", """[{apiGroups: [""], resources: [secrets], resourceNames: [credentials], verbs: [get]}]""");
        await ns.Kubectl.FeedAsync(Secret, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=dev");
    }

    [Fact]
    public async Task Who_may_not_use_a_secret_may_not_bind_it()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.SecretAsync("service");
        await AllowAsync(ns, "writer", "dev", """[{apiGroups: [superserve.ai], resources: [sandboxbindings], verbs: [get, list, create, update, patch]}]""");
        string errors = await ns.Kubectl.FailAsync(Binding, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=dev");
        Assert.Contains("use", errors, StringComparison.Ordinal);
        Assert.Contains("service", errors, StringComparison.Ordinal);

        await AllowAsync(ns, "user", "dev", """[{apiGroups: [superserve.ai], resources: [secrets], resourceNames: [service], verbs: [use]}]""");
        await ns.Kubectl.FeedAsync(Binding, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=dev");
    }

    [Theory]
    [InlineData("admin")]
    [InlineData("edit")]
    public async Task Kubernetes_own_roles_for_a_namespace_have_all_the_rights(string role)
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.RunAsync("create", "rolebinding", "ann", $"--clusterrole={role}", "--user=ann");
        // Aggregation takes a controller a moment.
        await Wait.UntilAsync($"the role {role} has the verb use", async () =>
            (await ns.Kubectl.TryAsync("", "auth", "can-i", "use", "secrets.superserve.ai", "-n", ns.Name, "--as=ann")).Status == 0);
        await ns.Kubectl.FeedAsync(Secret, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=ann");
        await ns.Kubectl.FeedAsync(Binding, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=ann");
    }

    [Fact]
    public async Task The_operators_own_rights_are_enough_to_say_that_a_replica_lives_and_to_see_which_do_not()
    {
        string operatorNamespace = "";
        await Wait.UntilAsync("a replica's Lease is there", async () =>
            (operatorNamespace = await cluster.Kubectl.RunAsync("get", "leases", "-A", "-l", "superserve.ai/lease=replica", "-o", "jsonpath={.items[0].metadata.namespace}")).Length > 0);
        foreach (string verb in (string[])["list", "delete"])
            await cluster.Kubectl.RunAsync("auth", "can-i", verb, "leases.coordination.k8s.io", "-n", operatorNamespace, $"--as=system:serviceaccount:{operatorNamespace}:superserve-operator");
    }

    [Fact]
    public async Task The_role_view_shows_the_resources_and_changes_nothing()
    {
        await using TestNamespace ns = await cluster.NewNamespaceAsync();
        await ns.SecretAsync("service");
        await ns.RunAsync("create", "rolebinding", "vic", "--clusterrole=view", "--user=vic");
        await Wait.UntilAsync("the role view has the resources", async () =>
            (await ns.Kubectl.TryAsync("", "get", "ssec", "service", "-n", ns.Name, "--as=vic")).Status == 0);
        await ns.Kubectl.FailAsync("", "delete", "ssec", "service", "-n", ns.Name, "--as=vic");
        await ns.Kubectl.FailAsync(Binding, "apply", "--server-side", "-n", ns.Name, "-f", "-", "--as=vic");
    }

    private const string Secret = """
        apiVersion: superserve.ai/v1alpha1
        kind: Secret
        metadata: {name: service}
        spec:
          valueFrom: {secretKeyRef: {name: credentials, key: token}}
          hosts: [api.example.com]
          auth: {type: bearer}
        """;

    private const string Binding = """
        apiVersion: superserve.ai/v1alpha1
        kind: SandboxBinding
        metadata: {name: agents}
        spec:
          selector: {matchLabels: {app: agent}}
          secrets: [{env: TOKEN, secretName: service}]
        """;

    private static Task<string> AllowAsync(TestNamespace ns, string role, string user, string rules) => ns.ApplyAsync($"""
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {"{"}name: {role}{"}"}
        rules: {rules}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: {"{"}name: {role}{"}"}
        roleRef: {"{"}apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}{"}"}
        subjects: [{"{"}apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}{"}"}]
        """);
}
