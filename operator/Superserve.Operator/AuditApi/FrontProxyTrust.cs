using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Superserve.Operator.Admission;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// Whom the API server lets speak for users: what the ConfigMap <c>kube-system/extension-apiserver-authentication</c> says. A caller
/// with a certificate by which it is the API server's front proxy is believed about who asks; nobody else is.
/// </summary>
internal sealed class FrontProxyTrust
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2", CommonName = "2.5.4.3";

    private readonly X509Certificate2Collection _authorities = [];
    private readonly string[] _names, _userHeaders, _uidHeaders, _groupHeaders, _extraPrefixes;

    private FrontProxyTrust(IDictionary<string, string> data)
    {
        _authorities.ImportFromPem(data["requestheader-client-ca-file"]);
        if (_authorities.Count == 0) throw new FormatException("requestheader-client-ca-file holds no certificate");
        _names = List("requestheader-allowed-names");
        _userHeaders = List("requestheader-username-headers");
        if (_userHeaders.Length == 0) throw new FormatException("requestheader-username-headers names no header");
        // Not there before Kubernetes 1.32.
        _uidHeaders = List("requestheader-uid-headers");
        _groupHeaders = List("requestheader-group-headers");
        _extraPrefixes = List("requestheader-extra-headers-prefix");

        string[] List(string entry) =>
            data.TryGetValue(entry, out string? json) && JsonSerializer.Deserialize<string[]>(json) is { } list ? [.. list.Where(text => !string.IsNullOrEmpty(text))] : [];
    }

    /// <summary>Reads the ConfigMap's data.</summary>
    public static bool TryRead(IDictionary<string, string>? data, [NotNullWhen(true)] out FrontProxyTrust? trust, [NotNullWhen(false)] out string? problem)
    {
        trust = null;
        problem = null;
        if (data?.ContainsKey("requestheader-client-ca-file") != true)
        {
            problem = "it has no entry requestheader-client-ca-file: the API server runs without its aggregation layer";
            return false;
        }

        try
        {
            trust = new FrontProxyTrust(data);
            return true;
        }
        catch (Exception exception) when (exception is CryptographicException or JsonException or FormatException)
        {
            problem = exception.Message;
            return false;
        }
    }

    /// <summary>Whether a certificate is the front proxy's: signed by its CA, for clients, in time, and with a name that is allowed.</summary>
    public bool Accepts(X509Certificate2? certificate, DateTimeOffset now)
    {
        if (certificate is null || (_names.Length > 0 && !_names.Contains(NameOf(certificate)))) return false;
        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = now.UtcDateTime;
        // The CA itself is no client, though its chain is a good one.
        return chain.Build(certificate) && chain.ChainElements.Count > 1;
    }

    /// <summary>Who asks; null where the headers name nobody.</summary>
    public Requester? ReadUser(IHeaderDictionary headers)
    {
        if (First(_userHeaders) is not { } name) return null;
        string[] groups = [.. _groupHeaders.SelectMany(header => headers[header]).Where(group => !string.IsNullOrEmpty(group)).Select(group => group!)];
        Dictionary<string, IReadOnlyList<string>> extra = new(StringComparer.Ordinal);
        foreach (string prefix in _extraPrefixes)
        {
            foreach ((string header, Microsoft.Extensions.Primitives.StringValues values) in headers)
            {
                if (!header.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)) continue;
                string key = Uri.UnescapeDataString(header[prefix.Length..].ToLowerInvariant());
                extra[key] = [.. extra.GetValueOrDefault(key, []), .. values.Select(value => value ?? "")];
            }
        }

        return new Requester(name, First(_uidHeaders) ?? "", groups, extra);

        string? First(string[] names) => names.Select(header => (string?)headers[header]).FirstOrDefault(value => !string.IsNullOrEmpty(value));
    }

    /// <summary>The one common name; null where there are several or none.</summary>
    private static string? NameOf(X509Certificate2 certificate)
    {
        try
        {
            string?[] names =
            [
                .. certificate.SubjectName.EnumerateRelativeDistinguishedNames()
                    .Where(part => !part.HasMultipleElements && part.GetSingleElementType().Value == CommonName)
                    .Select(part => part.GetSingleElementValue()),
            ];
            return names is [var only] ? only : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
