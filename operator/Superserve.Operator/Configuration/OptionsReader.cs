using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Options;
using Superserve.Audit;
using Superserve.Core.Providers;
using Superserve.Core.Secrets;

namespace Superserve.Operator.Configuration;

/// <summary>A mistake of the installation's that ends the program, with a message that says what to change.</summary>
public sealed class UsageException(string message) : Exception(message);

/// <summary>Reads what an installation says of its operator.</summary>
public static class OptionsReader
{
    // By reflection: generated code sets every property, and the defaults of those that a file leaves out would be lost.
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        Converters = { new JsonStringEnumConverter() },
    };

    /// <summary>The options of a file; a field that is not there has its default.</summary>
    /// <exception cref="UsageException">The file cannot be used.</exception>
    public static OperatorOptions Read(string file) => Read(file, new OperatorOptionsValidator(), (options, errors) =>
    {
        CheckAddress(options.ListenAddress, errors);
        foreach (string range in options.ClusterRanges)
            if (!IPNetwork.TryParse(range, out _)) errors.Add($"clusterRanges: '{range}' is not a CIDR; write a range without bits behind its prefix, as 10.96.0.0/12");
    });

    /// <summary>The audit service's options, likewise.</summary>
    /// <exception cref="UsageException">The file cannot be used.</exception>
    public static AuditOptions ReadAudit(string file) => Read(file, new AuditOptionsValidator(), (options, errors) =>
    {
        CheckAddress(options.ListenAddress, errors);
        if (string.IsNullOrEmpty(options.SqliteFile) && string.IsNullOrEmpty(options.PostgresConnectionStringFile))
            errors.Add("sqliteFile: say where the database is, or name a file with a connection string in postgresConnectionStringFile");
        if (new[] { options.Port, options.HealthPort, options.MetricsPort }.Distinct().Count() < 3) errors.Add("port, healthPort and metricsPort: each needs a number of its own");
    });

    /// <summary>The built-in providers and the installation's own.</summary>
    /// <exception cref="UsageException">The file cannot be used.</exception>
    public static ProviderCatalog ReadProviders(string? file)
    {
        if (file is null) return ProviderCatalog.BuiltIn;
        List<SpecError> errors = [];
        try
        {
            if (ProviderCatalog.TryParse(File.ReadAllBytes(file), errors) is { } own) return ProviderCatalog.BuiltIn.With(own);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            errors.Add(new("", exception.Message));
        }

        throw new UsageException($"the providers of {file} cannot be used:\n" + string.Join('\n', errors.Select(error => "  " + error)));
    }

    private static T Read<T>(string file, IValidateOptions<T> validator, Action<T, List<string>> check)
        where T : class
    {
        T? options;
        try
        {
            options = JsonSerializer.Deserialize<T>(File.ReadAllBytes(file), Json);
        }
        catch (JsonException exception)
        {
            throw new UsageException($"{file} cannot be used: {exception.Path}: {exception.Message}");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{file} cannot be read: {exception.Message}");
        }

        if (options is null) throw new UsageException($"{file} holds null; write an object, as {{}} for the defaults.");
        List<string> errors = [.. validator.Validate(null, options).Failures ?? []];
        check(options, errors);
        if (errors.Count > 0) throw new UsageException($"{file} cannot be used:\n" + string.Join('\n', errors.Select(error => "  " + error)));
        return options;
    }

    private static void CheckAddress(string address, List<string> errors)
    {
        if (!IPAddress.TryParse(address, out _)) errors.Add($"listenAddress: '{address}' is not an address; write :: for all, or 127.0.0.1");
    }
}
