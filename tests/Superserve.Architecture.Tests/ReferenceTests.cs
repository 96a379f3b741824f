using System.Text.Json;
using System.Xml.Linq;
using Superserve.Testing;

namespace Superserve.Architecture.Tests;

/// <summary>The direction of references: Core ← Protocol ← Sidecar, Operator; Sidecar and Operator never see each other.</summary>
public sealed class ReferenceTests
{
    /// <summary>Each project that ships, and the projects that it may reference.</summary>
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Superserve.Core"] = [],
        ["Superserve.Protocol"] = ["Superserve.Core"],
        ["Superserve.Sidecar"] = ["Superserve.Core", "Superserve.Protocol"],
        ["Superserve.Kubernetes"] = [],
        ["Superserve.Audit"] = ["Superserve.Core", "Superserve.Protocol"],
        ["Superserve.Operator"] = ["Superserve.Core", "Superserve.Protocol", "Superserve.Kubernetes", "Superserve.Audit"],
        ["Superserve.Cli"] = ["Superserve.Core"],
    };

    private static readonly string Root = Repository.Root;

    public static TheoryData<string> ShippedProjects => [.. Projects("core", "sidecar", "operator", "cli")];

    public static TheoryData<string> AllProjects => [.. Projects("core", "sidecar", "operator", "cli", "tests")];

    [Theory]
    [MemberData(nameof(ShippedProjects))]
    public void A_project_references_only_what_lies_below_it(string project)
    {
        string name = Path.GetFileNameWithoutExtension(project);
        Assert.True(Allowed.TryGetValue(name, out string[]? allowed), $"{name} is not in the list of this test: say there what it may reference");
        Assert.Empty(References(project).Except(allowed));
    }

    [Fact]
    public void Core_uses_no_package() => Assert.Empty(Packages("core/Superserve.Core/Superserve.Core.csproj"));

    [Fact]
    public void Core_does_no_input_or_output()
    {
        string[] banned = ["new Socket(", "Dns.", "using System.Net.Http;", "using Microsoft.AspNetCore", "using k8s", " File.", " Directory.", " Environment.", " Console."];
        foreach (string file in Sources("core/Superserve.Core"))
            Assert.All(banned, word => Assert.DoesNotContain(word, File.ReadAllText(file), StringComparison.Ordinal));
    }

    [Fact]
    public void The_sidecar_never_brings_the_Kubernetes_client()
    {
        using JsonDocument locked = JsonDocument.Parse(File.ReadAllText(Path.Combine(Root, "sidecar/Superserve.Sidecar/packages.lock.json")));
        foreach (JsonProperty framework in locked.RootElement.GetProperty("dependencies").EnumerateObject())
            foreach (JsonProperty package in framework.Value.EnumerateObject())
                Assert.DoesNotContain("Kubernetes", package.Name, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [MemberData(nameof(AllProjects))]
    public void A_project_takes_its_versions_from_the_central_list_and_locks_them(string project)
    {
        Assert.All(XDocument.Load(Path.Combine(Root, project)).Descendants("PackageReference"), reference => Assert.Null(reference.Attribute("Version")));
        Assert.True(File.Exists(Path.Combine(Root, Path.GetDirectoryName(project)!, "packages.lock.json")), $"{project} has no lock file");
    }

    [Theory]
    [MemberData(nameof(AllProjects))]
    public void A_project_is_part_of_the_solution(string project) =>
        Assert.Contains(project.Replace('/', '\\'), File.ReadAllText(Path.Combine(Root, "Superserve.K8s.sln")), StringComparison.Ordinal);

    [Theory]
    [MemberData(nameof(ShippedProjects))]
    public void A_namespace_is_its_folder(string project)
    {
        string folder = Path.GetDirectoryName(project)!;
        string rootNamespace = Path.GetFileNameWithoutExtension(project);
        foreach (string file in Sources(folder))
        {
            string relative = Path.GetRelativePath(Path.Combine(Root, folder), Path.GetDirectoryName(file)!);
            string expected = relative == "." ? rootNamespace : $"{rootNamespace}.{relative.Replace('/', '.')}";
            string? line = File.ReadLines(file).FirstOrDefault(text => text.StartsWith("namespace ", StringComparison.Ordinal));
            // Program.cs is top-level statements.
            if (line is not null) Assert.Equal($"namespace {expected};", line);
        }
    }

    private static IEnumerable<string> Projects(params string[] folders) =>
        folders.Select(folder => Path.Combine(Root, folder)).Where(Directory.Exists)
            .SelectMany(folder => Directory.EnumerateFiles(folder, "*.csproj", SearchOption.AllDirectories))
            .Select(file => Path.GetRelativePath(Root, file));

    private static IEnumerable<string> Sources(string folder) =>
        Directory.EnumerateFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal));

    private static IEnumerable<string> References(string project) =>
        XDocument.Load(Path.Combine(Root, project)).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/')));

    private static IEnumerable<string> Packages(string project) =>
        XDocument.Load(Path.Combine(Root, project)).Descendants("PackageReference").Select(reference => reference.Attribute("Include")!.Value);
}
