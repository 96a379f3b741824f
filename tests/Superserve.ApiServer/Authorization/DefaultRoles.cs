namespace Superserve.ApiServer.Authorization;

/// <summary>The cluster roles that users bind to, with the labels by which others add rules to them.</summary>
internal static class DefaultRoles
{
    public const string Yaml = """
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: cluster-admin}
        rules:
        - {verbs: ["*"], apiGroups: ["*"], resources: ["*"]}
        - {verbs: ["*"], nonResourceURLs: ["*"]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: admin}
        aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: edit, labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}
        aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-edit: "true"}}]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: view, labels: {rbac.authorization.k8s.io/aggregate-to-edit: "true"}}
        aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:aggregate-to-admin", labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}
        rules:
        - {verbs: [create, delete, deletecollection, get, list, patch, update, watch], apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings]}
        - {verbs: [create], apiGroups: [authorization.k8s.io], resources: [localsubjectaccessreviews]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:aggregate-to-edit", labels: {rbac.authorization.k8s.io/aggregate-to-edit: "true"}}
        rules:
        - {verbs: [get, list, watch], apiGroups: [""], resources: [secrets, pods/attach, pods/exec, pods/portforward]}
        - {verbs: [impersonate], apiGroups: [""], resources: [serviceaccounts]}
        - {verbs: [create], apiGroups: [""], resources: [serviceaccounts/token, pods/eviction]}
        - verbs: [create, delete, deletecollection, patch, update]
          apiGroups: [""]
          resources: [pods, pods/attach, pods/exec, pods/portforward, configmaps, endpoints, events, persistentvolumeclaims, secrets, serviceaccounts, services]
        - verbs: [create, delete, deletecollection, patch, update]
          apiGroups: [apps]
          resources: [daemonsets, deployments, deployments/scale, replicasets, replicasets/scale, statefulsets, statefulsets/scale]
        - {verbs: [create, delete, deletecollection, patch, update], apiGroups: [batch], resources: [jobs, cronjobs]}
        - {verbs: [create, delete, deletecollection, patch, update], apiGroups: [networking.k8s.io], resources: [networkpolicies, ingresses]}
        - {verbs: [create, delete, deletecollection, get, list, patch, update, watch], apiGroups: [coordination.k8s.io], resources: [leases]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:aggregate-to-view", labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
        rules:
        - verbs: [get, list, watch]
          apiGroups: [""]
          resources: [pods, pods/status, pods/log, configmaps, endpoints, events, limitranges, namespaces, persistentvolumeclaims, resourcequotas, serviceaccounts, services]
        - {verbs: [get, list, watch], apiGroups: [apps], resources: [daemonsets, deployments, deployments/scale, deployments/status, replicasets, statefulsets]}
        - {verbs: [get, list, watch], apiGroups: [batch], resources: [jobs, cronjobs]}
        - {verbs: [get, list, watch], apiGroups: [networking.k8s.io], resources: [networkpolicies, ingresses]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:basic-user"}
        rules:
        - {verbs: [create], apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews, selfsubjectrulesreviews]}
        - {verbs: [create], apiGroups: [authentication.k8s.io], resources: [selfsubjectreviews]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:auth-delegator"}
        rules:
        - {verbs: [create], apiGroups: [authentication.k8s.io], resources: [tokenreviews]}
        - {verbs: [create], apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: {name: "system:discovery"}
        rules:
        - {verbs: [get], nonResourceURLs: [/api, /api/*, /apis, /apis/*, /healthz, /livez, /readyz, /openapi, /openapi/*, /version, /version/]}
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: cluster-admin}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:masters"}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: "system:basic-user"}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:basic-user"}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: {name: "system:discovery"}
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:discovery"}
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
        """;
}
