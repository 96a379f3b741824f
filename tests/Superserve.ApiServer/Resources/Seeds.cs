namespace Superserve.ApiServer.Resources;

/// <summary>What every cluster has.</summary>
internal static class Seeds
{
    public const string Yaml = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: default}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: kube-system}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: kube-public}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: kube-node-lease}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: kubernetes, namespace: default, labels: {component: apiserver, provider: kubernetes}}
        spec:
          ports: [{name: https, port: 443, protocol: TCP, targetPort: 6443}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: {name: extension-apiserver-authentication-reader, namespace: kube-system}
        rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [extension-apiserver-authentication], verbs: [get, list, watch]}]
        """;

    /// <summary>How an aggregated API tells that a request comes from this server.</summary>
    public static string Authentication(ServerCertificates certificates) => new JsonObject
    {
        ["apiVersion"] = "v1",
        ["kind"] = "ConfigMap",
        ["metadata"] = new JsonObject { ["name"] = "extension-apiserver-authentication", ["namespace"] = "kube-system" },
        ["data"] = new JsonObject
        {
            ["client-ca-file"] = certificates.AuthorityPem,
            ["requestheader-allowed-names"] = $"[\"{ServerCertificates.FrontProxyName}\"]",
            ["requestheader-client-ca-file"] = certificates.FrontProxyAuthority.ExportCertificatePem() + "\n",
            ["requestheader-extra-headers-prefix"] = "[\"X-Remote-Extra-\"]",
            ["requestheader-group-headers"] = "[\"X-Remote-Group\"]",
            ["requestheader-username-headers"] = "[\"X-Remote-User\"]",
        },
    }.ToText();
}
