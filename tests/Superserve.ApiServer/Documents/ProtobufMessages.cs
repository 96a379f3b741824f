using System.Globalization;

namespace Superserve.ApiServer.Documents;

/// <summary>One field of a message: its JSON name, and a scalar's or a message's type.</summary>
internal sealed record ProtobufField(string Name, string Type, bool IsList, bool IsMap);

/// <summary>The messages that are read, as "name { number name:type }"; [] a list, {} a map, string where no type is said.</summary>
internal static class ProtobufMessages
{
    private const string Definitions = """
        Unknown 1 typeMeta:TypeMeta, 2 raw:bytes
        TypeMeta 1 apiVersion, 2 kind
        Timestamp 1 seconds:int, 2 nanos:int
        TextEntry 1 key, 2 value
        BytesEntry 1 key, 2 value:bytes
        ObjectMeta 1 name, 2 generateName, 3 namespace, 5 uid, 6 resourceVersion, 7 generation:int, 8 creationTimestamp:time, 9 deletionTimestamp:time, 11 labels{}, 12 annotations{}, 13 ownerReferences[]:OwnerReference, 14 finalizers[]
        OwnerReference 1 kind, 3 name, 4 uid, 5 apiVersion, 6 controller:bool, 7 blockOwnerDeletion:bool
        DeleteOptions 1 gracePeriodSeconds:int, 2 preconditions:Preconditions, 3 orphanDependents:bool, 4 propagationPolicy, 5 dryRun[]
        Preconditions 1 uid, 2 resourceVersion
        Namespace 1 metadata:ObjectMeta, 2 spec:NamespaceSpec
        NamespaceSpec 1 finalizers[]
        Secret 1 metadata:ObjectMeta, 2 data{}:bytes, 3 type, 4 stringData{}, 5 immutable:bool
        ConfigMap 1 metadata:ObjectMeta, 2 data{}, 3 binaryData{}:bytes, 4 immutable:bool
        ServiceAccount 1 metadata:ObjectMeta, 2 secrets[]:ObjectReference, 3 imagePullSecrets[]:LocalObjectReference, 4 automountServiceAccountToken:bool
        ObjectReference 1 kind, 2 namespace, 3 name, 4 uid, 5 apiVersion, 6 resourceVersion, 7 fieldPath
        LocalObjectReference 1 name
        Event 1 metadata:ObjectMeta, 2 involvedObject:ObjectReference, 3 reason, 4 message, 5 source:EventSource, 6 firstTimestamp:time, 7 lastTimestamp:time, 8 count:int, 9 type, 10 eventTime:microtime, 12 action, 14 reportingComponent, 15 reportingInstance
        EventSource 1 component, 2 host
        Binding 1 metadata:ObjectMeta, 2 target:ObjectReference
        Eviction 1 metadata:ObjectMeta, 2 deleteOptions:DeleteOptions
        Lease 1 metadata:ObjectMeta, 2 spec:LeaseSpec
        LeaseSpec 1 holderIdentity, 2 leaseDurationSeconds:int, 3 acquireTime:microtime, 4 renewTime:microtime, 5 leaseTransitions:int
        Role 1 metadata:ObjectMeta, 2 rules[]:PolicyRule
        ClusterRole 1 metadata:ObjectMeta, 2 rules[]:PolicyRule, 3 aggregationRule:AggregationRule
        PolicyRule 1 verbs[], 2 apiGroups[], 3 resources[], 4 resourceNames[], 5 nonResourceURLs[]
        AggregationRule 1 clusterRoleSelectors[]:LabelSelector
        LabelSelector 1 matchLabels{}, 2 matchExpressions[]:LabelSelectorRequirement
        LabelSelectorRequirement 1 key, 2 operator, 3 values[]
        RoleBinding 1 metadata:ObjectMeta, 2 subjects[]:Subject, 3 roleRef:RoleRef
        ClusterRoleBinding 1 metadata:ObjectMeta, 2 subjects[]:Subject, 3 roleRef:RoleRef
        Subject 1 kind, 2 apiGroup, 3 name, 4 namespace
        RoleRef 1 apiGroup, 2 kind, 3 name
        TokenRequest 1 metadata:ObjectMeta, 2 spec:TokenRequestSpec
        TokenRequestSpec 1 audiences[], 3 boundObjectRef:BoundObjectReference, 4 expirationSeconds:int
        BoundObjectReference 1 kind, 2 apiVersion, 3 name, 4 uid
        TokenReview 1 metadata:ObjectMeta, 2 spec:TokenReviewSpec
        TokenReviewSpec 1 token, 2 audiences[]
        SelfSubjectReview 1 metadata:ObjectMeta
        SelfSubjectAccessReview 1 metadata:ObjectMeta, 2 spec:SelfSubjectAccessReviewSpec
        SelfSubjectAccessReviewSpec 1 resourceAttributes:ResourceAttributes, 2 nonResourceAttributes:NonResourceAttributes
        SubjectAccessReview 1 metadata:ObjectMeta, 2 spec:SubjectAccessReviewSpec
        LocalSubjectAccessReview 1 metadata:ObjectMeta, 2 spec:SubjectAccessReviewSpec
        SubjectAccessReviewSpec 1 resourceAttributes:ResourceAttributes, 2 nonResourceAttributes:NonResourceAttributes, 3 user, 4 groups[], 6 uid
        ResourceAttributes 1 namespace, 2 verb, 3 group, 4 version, 5 resource, 6 subresource, 7 name
        NonResourceAttributes 1 path, 2 verb
        SelfSubjectRulesReview 1 metadata:ObjectMeta, 2 spec:SelfSubjectRulesReviewSpec
        SelfSubjectRulesReviewSpec 1 namespace
        """;

    private static readonly Dictionary<string, IReadOnlyDictionary<int, ProtobufField>> Messages = Definitions.Split('\n').ToDictionary(
        line => line[..line.IndexOf(' ', StringComparison.Ordinal)],
        line => (IReadOnlyDictionary<int, ProtobufField>)line[(line.IndexOf(' ', StringComparison.Ordinal) + 1)..].Split(", ").Select(Field).ToDictionary(field => field.Number, field => field.Field));

    public static IReadOnlyDictionary<int, ProtobufField>? Find(string name) => Messages.GetValueOrDefault(name);

    private static (int Number, ProtobufField Field) Field(string text)
    {
        string[] parts = text.Split(' ', ':');
        string name = parts[1].TrimEnd('[', ']', '{', '}');
        ProtobufField field = new(name, parts.Length > 2 ? parts[2] : "string", parts[1].EndsWith(']'), parts[1].EndsWith('}'));
        return (int.Parse(parts[0], CultureInfo.InvariantCulture), field);
    }
}
