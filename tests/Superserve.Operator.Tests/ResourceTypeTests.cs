using System.Globalization;
using System.Text.Json;
using k8s;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;
using Superserve.Operator.Resources;
using Superserve.Testing;
using YamlDotNet.Serialization;
using Node = System.Collections.Generic.Dictionary<object, object>;

namespace Superserve.Operator.Tests;

/// <summary>The CRDs are the source of truth; the C# types say the same, property by property.</summary>
public sealed class ResourceTypeTests
{
    public static TheoryData<string> Accepted => [.. Manifests("accepted")];

    public static TheoryData<string> Refused => [.. Manifests("refused")];

    [Theory]
    [InlineData("secrets.superserve.ai.yaml", typeof(SecretResource))]
    [InlineData("sandboxbindings.superserve.ai.yaml", typeof(SandboxBindingResource))]
    public void The_types_are_those_of_the_CRD(string file, Type type)
    {
        Node schema = Child(Child(Child(Version(file), "schema"), "openAPIV3Schema"), "properties");
        AssertSame(Child(schema, "spec"), type.GetProperty("Spec")!.PropertyType, "spec");
        AssertSame(Child(schema, "status"), type.GetProperty("Status")!.PropertyType, "status");
    }

    [Theory]
    [InlineData("secrets.superserve.ai.yaml", typeof(SecretResource))]
    [InlineData("sandboxbindings.superserve.ai.yaml", typeof(SandboxBindingResource))]
    public void The_names_are_those_of_the_CRD(string file, Type type)
    {
        k8s.Models.KubernetesEntityAttribute entity = (k8s.Models.KubernetesEntityAttribute)Attribute.GetCustomAttribute(type, typeof(k8s.Models.KubernetesEntityAttribute))!;
        Node spec = Child(Crd(file), "spec");
        Assert.Equal((entity.Group, entity.Kind, entity.PluralName), (spec["group"], Child(spec, "names")["kind"], Child(spec, "names")["plural"]));
        Assert.Equal(entity.ApiVersion, Version(file)["name"]);
    }

    [Theory]
    [InlineData("secrets.superserve.ai.yaml")]
    [InlineData("sandboxbindings.superserve.ai.yaml")]
    public void Everything_in_the_CRD_is_described_and_bounded(string file)
    {
        Node schema = Child(Child(Child(Version(file), "schema"), "openAPIV3Schema"), "properties");
        AssertBounded(Child(schema, "spec"), "spec", isDescribed: true);
        AssertBounded(Child(schema, "status"), "status", isDescribed: false);
    }

    [Theory]
    [MemberData(nameof(Accepted))]
    public void An_accepted_manifest_survives_the_types(string file)
    {
        string yaml = File.ReadAllText(Repository.PathTo($"tests/manifests/accepted/{file}"));
        string written = ToJson(yaml);
        // What the types do not know would be gone after a round trip.
        string kind = JsonDocument.Parse(written).RootElement.GetProperty("kind").GetString()!;
        string back = kind == "Secret"
            ? KubernetesJson.Serialize(KubernetesJson.Deserialize<SecretResource>(written))
            : KubernetesJson.Serialize(KubernetesJson.Deserialize<SandboxBindingResource>(written));
        Assert.Equal(Leaves(JsonDocument.Parse(written).RootElement.GetProperty("spec")), Leaves(JsonDocument.Parse(back).RootElement.GetProperty("spec")));
    }

    [Theory]
    [MemberData(nameof(Accepted))]
    public void What_the_CRD_accepts_the_rules_accept(string file) => Assert.Empty(Judge(File.ReadAllText(Repository.PathTo($"tests/manifests/accepted/{file}"))));

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_the_CRD_or_the_webhook_refuses_the_rules_refuse(string file)
    {
        // What is about the form of the Kubernetes object alone, the rules do not see.
        string[] formOnly =
        [
            "secret-no-value.yaml", "secret-misspelt-field.yaml", "binding-without-selector.yaml", "binding-with-empty-selector.yaml", "binding-of-nothing.yaml",
            "binding-env-no-identifier.yaml", "binding-env-twice.yaml", "binding-unknown-mode.yaml", "binding-port-zero.yaml", "binding-expiry-no-time.yaml", "binding-in-without-values.yaml",
        ];
        if (formOnly.Contains(file)) return;
        Assert.NotEmpty(Judge(File.ReadAllText(Repository.PathTo($"tests/manifests/refused/{file}"))));
    }

    private static List<SpecError> Judge(string yaml)
    {
        List<SpecError> errors = [];
        if (yaml.Contains("kind: SandboxBinding", StringComparison.Ordinal))
        {
            NetworkSpec? network = KubernetesJson.Deserialize<SandboxBindingResource>(ToJson(yaml)).Spec?.Network;
            NetworkPolicy.TryParse(network?.AllowOut, network?.DenyOut, NetworkMode.Enforce, PublicSuffixList.Embedded, "spec.network", errors, out _);
        }
        else SecretDefinition.TryCreate(KubernetesJson.Deserialize<SecretResource>(ToJson(yaml)).Spec!, "spec", ProviderCatalog.BuiltIn, PublicSuffixList.Embedded, errors, out _);
        return errors;
    }

    private static string ToJson(string yaml) =>
        JsonSerializer.Serialize(new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize<object>(yaml));

    private static void AssertSame(Node schema, Type type, string path)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        switch (schema["type"], schema.GetValueOrDefault("format"))
        {
            case ("string", "date-time"):
                Assert.True(type == typeof(DateTimeOffset), $"{path} is a time, and {type} in C#");
                break;
            case ("string", null):
                Assert.True(type == typeof(string), $"{path} is a string, and {type} in C#");
                break;
            case ("boolean", _):
                Assert.True(type == typeof(bool), $"{path} is a boolean, and {type} in C#");
                break;
            case ("integer", "int64"):
                Assert.True(type == typeof(long), $"{path} is an int64, and {type} in C#");
                break;
            case ("integer", "int32"):
                Assert.True(type == typeof(int), $"{path} is an int32, and {type} in C#");
                break;
            case ("array", _):
                Assert.True(type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>), $"{path} is a list, and {type} in C#");
                AssertSame(Child(schema, "items"), type.GetGenericArguments()[0], path + "[]");
                break;
            case ("object", _) when schema.ContainsKey("additionalProperties"):
                Assert.True(type == typeof(IReadOnlyDictionary<string, string>), $"{path} is a map, and {type} in C#");
                break;
            case ("object", _):
                Node properties = Child(schema, "properties");
                string[] written = [.. properties.Keys.Cast<string>().Order(StringComparer.Ordinal)];
                string[] typed = [.. type.GetProperties().Select(property => JsonNamingPolicy.CamelCase.ConvertName(property.Name)).Order(StringComparer.Ordinal)];
                Assert.True(written.SequenceEqual(typed), $"{path}: the CRD has [{string.Join(", ", written)}], {type.Name} has [{string.Join(", ", typed)}]");
                foreach (System.Reflection.PropertyInfo property in type.GetProperties())
                {
                    string name = JsonNamingPolicy.CamelCase.ConvertName(property.Name);
                    AssertSame(Child(properties, name), property.PropertyType, $"{path}.{name}");
                }

                break;
            default:
                Assert.Fail($"{path} has the type {schema["type"]} in the format {schema.GetValueOrDefault("format")}, which this test does not know");
                break;
        }
    }

    private static void AssertBounded(Node schema, string path, bool isDescribed)
    {
        bool isItem = path.EndsWith("[]", StringComparison.Ordinal);
        if (isDescribed && !isItem) Assert.True(schema.ContainsKey("description"), $"{path} has no description");
        switch (schema["type"])
        {
            case "string" when !schema.ContainsKey("enum") && !schema.ContainsKey("format"):
                Assert.True(schema.ContainsKey("maxLength"), $"{path} has no maxLength");
                break;
            case "array":
                Assert.True(schema.ContainsKey("maxItems"), $"{path} has no maxItems");
                Assert.True(schema.ContainsKey("x-kubernetes-list-type"), $"{path} has no list type");
                AssertBounded(Child(schema, "items"), path + "[]", isDescribed);
                break;
            case "object" when schema.ContainsKey("additionalProperties"):
                Assert.True(schema.ContainsKey("maxProperties"), $"{path} has no maxProperties");
                break;
            case "object":
                foreach ((object name, object child) in Child(schema, "properties")) AssertBounded((Node)child, $"{path}.{name}", isDescribed);
                break;
        }
    }

    private static List<string> Leaves(JsonElement element, string path = "")
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                return [.. element.EnumerateObject().OrderBy(property => property.Name, StringComparer.Ordinal).SelectMany(property => Leaves(property.Value, $"{path}.{property.Name}"))];
            case JsonValueKind.Array:
                return [.. element.EnumerateArray().SelectMany((item, i) => Leaves(item, $"{path}[{i}]"))];
            case JsonValueKind.Null:
                return [];
            case JsonValueKind.String when DateTimeOffset.TryParse(element.GetString(), CultureInfo.InvariantCulture, out DateTimeOffset time):
                return [$"{path}={time.UtcDateTime:O}"];
            // A type's own default is not a difference.
            case JsonValueKind.False when path == ".allowSetCookie":
                return [];
            default:
                return [$"{path}={element}"];
        }
    }

    private static IEnumerable<string> Manifests(string folder) =>
        Directory.EnumerateFiles(Repository.PathTo($"tests/manifests/{folder}"), "*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

    private static Node Crd(string file) => new DeserializerBuilder().Build().Deserialize<Node>(File.ReadAllText(Repository.PathTo($"crds/{file}")));

    private static Node Version(string file) => (Node)((List<object>)Child(Crd(file), "spec")["versions"])[0];

    private static Node Child(Node node, string name) => (Node)node[name];
}
