namespace Superserve.Testing;

/// <summary>The files of the repository that tests read.</summary>
public static class Repository
{
    /// <summary>Its root.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>A file or folder in it.</summary>
    public static string PathTo(string relative) => Path.Combine(Root, relative);

    /// <summary>The built sidecar, as it ships.</summary>
    public static string Sidecar
    {
        get
        {
            string file = PathTo("artifacts/bin/superserve-sidecar");
            return File.Exists(file) ? file : throw new InvalidOperationException($"{file} is not there: run 'make build' first, or 'make test', which does.");
        }
    }

    private static string FindRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "Superserve.K8s.sln"))) directory = Path.GetDirectoryName(directory);
        return directory ?? throw new InvalidOperationException("The tests are not inside the repository.");
    }
}
