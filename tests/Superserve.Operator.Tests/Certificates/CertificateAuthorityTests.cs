using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FsCheck.Xunit;
using Superserve.Operator.Certificates;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Tests.Certificates;

public sealed class CertificateAuthorityTests
{
    private static readonly DateTimeOffset Start = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan Third = SigningAuthority.Lifetime / 3;
    private static readonly X509Extension Names = OwnCertificates.AlternativeNames(new OperatorOptions { ExtraServingNames = ["10.0.0.7", "fd00::7", "hooks.example.com"] });

    [Fact]
    public void A_CA_has_what_strict_verifiers_ask_for()
    {
        CertificateAuthority authority = CertificateAuthority.Create(Start);
        X509Certificate2Collection certificates = Chains.Parse(authority.Bundle);
        Assert.Equal(2, certificates.Count);
        Assert.NotEqual(certificates[0].Subject, certificates[1].Subject);
        foreach (X509Certificate2 certificate in certificates)
        {
            X509BasicConstraintsExtension constraints = Assert.Single(certificate.Extensions.OfType<X509BasicConstraintsExtension>());
            Assert.Equal((true, true, true, 0), (constraints.Critical, constraints.CertificateAuthority, constraints.HasPathLengthConstraint, constraints.PathLengthConstraint));
            X509KeyUsageExtension usage = Assert.Single(certificate.Extensions.OfType<X509KeyUsageExtension>());
            Assert.Equal((true, X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign), (usage.Critical, usage.KeyUsages));
            Assert.Equal(Identifier(certificate), Issuer(certificate));
            Assert.Equal(16, certificate.SerialNumberBytes.Length);
            Assert.Equal("1.2.840.10045.4.3.2", certificate.SignatureAlgorithm.Value);
            Assert.Equal(256, certificate.GetECDsaPublicKey()!.KeySize);
            Assert.False(certificate.HasPrivateKey);
        }
    }

    [Fact]
    public void A_leaf_is_for_the_service_and_what_the_installation_adds()
    {
        SigningAuthority authority = CertificateAuthority.Create(Start).Current;
        using X509Certificate2 leaf = authority.Issue("superserve-operator", Names, Start);
        string[] hosts = [.. leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().Single().EnumerateDnsNames()];
        Assert.Equal(
            ["superserve-operator", "superserve-operator.superserve-system", "superserve-operator.superserve-system.svc",
             "superserve-operator.superserve-system.svc.cluster.local", "localhost", "hooks.example.com"],
            hosts);
        Assert.Equal(["10.0.0.7", "fd00::7"], leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().Single().EnumerateIPAddresses().Select(address => address.ToString()));
        Assert.Equal("1.3.6.1.5.5.7.3.1", Assert.Single(leaf.Extensions.OfType<X509EnhancedKeyUsageExtension>().Single().EnhancedKeyUsages.Cast<Oid>()).Value);
        Assert.Equal(X509KeyUsageFlags.DigitalSignature, leaf.Extensions.OfType<X509KeyUsageExtension>().Single().KeyUsages);
        Assert.False(leaf.Extensions.OfType<X509BasicConstraintsExtension>().Single().CertificateAuthority);
        Assert.Equal(Identifier(Chains.Parse(authority.CertificatePem)[0]), Issuer(leaf));
        Assert.Equal(Start + SigningAuthority.LeafLifetime, leaf.NotAfter.ToUniversalTime());
        Assert.True(leaf.NotBefore.ToUniversalTime() < Start);
        Assert.Equal("", Chains.Problem(leaf, authority.CertificatePem, Start));
    }

    [Theory]
    [InlineData("not a name")]
    [InlineData("")]
    [InlineData("https://hooks.example.com")]
    public void An_extra_name_that_is_none_is_refused_by_name(string name)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => OwnCertificates.AlternativeNames(new OperatorOptions { ExtraServingNames = [name] }));
        Assert.Contains($"\"{name}\"", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_leaf_does_not_outlive_its_CA()
    {
        SigningAuthority authority = CertificateAuthority.Create(Start).Current;
        DateTimeOffset late = authority.NotAfter.AddDays(-2);
        using X509Certificate2 leaf = authority.Issue("superserve-operator", Names, late);
        Assert.Equal(authority.NotAfter, leaf.NotAfter.ToUniversalTime());
        Assert.Equal("", Chains.Problem(leaf, authority.CertificatePem, late));
    }

    [Fact]
    public void The_next_CA_takes_over_at_two_thirds_of_the_current_ones_life()
    {
        CertificateAuthority first = CertificateAuthority.Create(Start);
        DateTimeOffset twoThirds = first.Current.NotBefore + (SigningAuthority.Lifetime * 2 / 3);
        Assert.Equal(twoThirds, first.RotatesAt);
        Assert.Same(first, first.At(twoThirds.AddSeconds(-1)));
        CertificateAuthority second = first.At(twoThirds);
        Assert.Equal(first.Next.CertificatePem, second.Current.CertificatePem);
        Assert.NotEqual(first.Next.CertificatePem, second.Next.CertificatePem);
        Assert.True(second.Succeeds(first));
        Assert.False(CertificateAuthority.Create(Start).Succeeds(first));
    }

    [Fact]
    public void Every_certificate_verifies_with_what_was_published_a_third_of_a_CAs_life_before()
    {
        TimeSpan lead = Third - TimeSpan.FromHours(1);
        CertificateAuthority authority = CertificateAuthority.Create(Start);
        List<(DateTimeOffset At, string Bundle)> published = [(Start, authority.Bundle)];
        for (DateTimeOffset now = Start; now < Start.AddYears(12); now = now.AddDays(20))
        {
            // On time: looked at when it is due, as the operator does.
            if (authority.RotatesAt is var due && due <= now)
            {
                authority = authority.At(due);
                published.Add((due, authority.Bundle));
            }

            using X509Certificate2 leaf = authority.Current.Issue("superserve-operator", Names, now);
            string old = published.Last(past => past.At <= now - lead || past == published[0]).Bundle;
            Assert.Equal("", Chains.Problem(leaf, old, now));
            Assert.Equal("", Chains.Problem(leaf, authority.Bundle, now + SigningAuthority.LeafLifetime - TimeSpan.FromSeconds(1)));
        }

        Assert.True(published.Count > 15);
    }

    [Property(MaxTest = 40)]
    public void Also_where_no_operator_runs_for_months_no_CA_signs_before_it_is_known(ushort[] gaps)
    {
        DateTimeOffset now = Start;
        CertificateAuthority authority = CertificateAuthority.Create(now);
        Dictionary<string, DateTimeOffset> known = [];
        foreach (int days in gaps.Select(gap => 1 + (gap % 300)))
        {
            foreach (SigningAuthority one in (SigningAuthority[])[authority.Current, authority.Next]) known.TryAdd(one.CertificatePem, now);
            now = now.AddDays(days);
            CertificateAuthority due = authority.At(now);
            if (!ReferenceEquals(due, authority)) Assert.True(now - known[due.Current.CertificatePem] >= SigningAuthority.Lifetime / 4 || known[due.Current.CertificatePem] == Start);
            authority = due;
            Assert.True(authority.Current.NotAfter > now);
            Assert.True(authority.RotatesAt > now, "one step is enough");
        }
    }

    [Fact]
    public void After_a_year_without_an_operator_the_CA_that_is_known_signs()
    {
        CertificateAuthority first = CertificateAuthority.Create(Start);
        DateTimeOffset late = first.Current.NotAfter.AddDays(30);
        CertificateAuthority second = first.At(late);
        using X509Certificate2 leaf = second.Current.Issue("superserve-operator", Names, late);
        Assert.Equal("", Chains.Problem(leaf, first.Bundle, late));
        Assert.Same(second, second.At(late));
    }

    [Fact]
    public void What_is_written_is_read()
    {
        CertificateAuthority authority = CertificateAuthority.Create(Start);
        Dictionary<string, byte[]> data = Data(authority);
        Assert.Equal(["ca.crt", "ca.key", "next.crt", "next.key"], data.Keys.Order());
        Assert.StartsWith("-----BEGIN PRIVATE KEY-----", Encoding.ASCII.GetString(data["ca.key"]), StringComparison.Ordinal);
        CertificateAuthority read = CertificateAuthority.Read(data, Start);
        Assert.Equal(authority.Bundle, read.Bundle);
        using X509Certificate2 leaf = read.Next.Issue("superserve-operator", Names, Start);
        Assert.Equal("", Chains.Problem(leaf, authority.Bundle, Start));
    }

    [Theory]
    [InlineData("a certificate that is missing", "no entry ca.crt")]
    [InlineData("a key that is missing", "no entry next.key")]
    [InlineData("an empty key", "no entry ca.key")]
    [InlineData("no PEM", "ca.crt is not a certificate")]
    [InlineData("no key in PEM", "ca.key is not a private EC key")]
    [InlineData("a public key", "ca.key is not a private EC key")]
    [InlineData("an RSA key", "ca.key is not a private EC key")]
    [InlineData("another curve", "not on the curve P-256")]
    [InlineData("the other key", "the key in ca.key is not that of the certificate in ca.crt")]
    [InlineData("a leaf", "is not a CA")]
    [InlineData("a CA that may not sign", "must not sign")]
    [InlineData("an intermediate", "not self-signed")]
    [InlineData("no identifier", "no subject key identifier")]
    [InlineData("one twice", "have to be two")]
    [InlineData("both expired", "expired on 2023-")]
    public void What_is_no_pair_of_CAs_is_refused_with_the_reason_and_without_the_key(string what, string reason)
    {
        Dictionary<string, byte[]> data = Data(CertificateAuthority.Create(Start));
        Spoil(data, what);
        UnusableSecretException error = Assert.Throws<UnusableSecretException>(() => CertificateAuthority.Read(data, Start));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("BEGIN", error.ToString(), StringComparison.Ordinal);
        Assert.Null(error.InnerException);
    }

    private static void Spoil(Dictionary<string, byte[]> data, string what)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=own", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        X509BasicConstraintsExtension isAuthority = new(true, false, 0, true);
        X509KeyUsageExtension signs = new(X509KeyUsageFlags.KeyCertSign, true);
        switch (what)
        {
            case "a certificate that is missing":
                data.Remove("ca.crt");
                break;
            case "a key that is missing":
                data.Remove("next.key");
                break;
            case "an empty key":
                data["ca.key"] = [];
                break;
            case "no PEM":
                data["ca.crt"] = [1, 2, 3];
                break;
            case "no key in PEM":
                data["ca.key"] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"u8.ToArray();
                break;
            case "a public key":
                data["ca.key"] = Encoding.ASCII.GetBytes(key.ExportSubjectPublicKeyInfoPem());
                break;
            case "an RSA key":
                using (RSA rsa = RSA.Create(2048)) data["ca.key"] = Encoding.ASCII.GetBytes(rsa.ExportPkcs8PrivateKeyPem());
                break;
            case "another curve":
                using (ECDsa other = ECDsa.Create(ECCurve.NamedCurves.nistP384)) data["ca.key"] = Encoding.ASCII.GetBytes(other.ExportPkcs8PrivateKeyPem());
                break;
            case "the other key":
                data["ca.key"] = data["next.key"];
                break;
            case "a leaf":
                Use(request.CreateSelfSigned(Start.AddDays(-1), Start.AddYears(1)));
                break;
            case "a CA that may not sign":
                request.CertificateExtensions.Add(isAuthority);
                request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
                Use(request.CreateSelfSigned(Start.AddDays(-1), Start.AddYears(1)));
                break;
            case "an intermediate":
                request.CertificateExtensions.Add(isAuthority);
                request.CertificateExtensions.Add(signs);
                Use(request.Create(new X500DistinguishedName("CN=above"), X509SignatureGenerator.CreateForECDsa(key), Start.AddDays(-1), Start.AddYears(1), [1]));
                break;
            case "no identifier":
                request.CertificateExtensions.Clear();
                request.CertificateExtensions.Add(isAuthority);
                request.CertificateExtensions.Add(signs);
                Use(request.CreateSelfSigned(Start.AddDays(-1), Start.AddYears(1)));
                break;
            case "one twice":
                data["next.crt"] = data["ca.crt"];
                data["next.key"] = data["ca.key"];
                break;
            case "both expired":
                CertificateAuthority.Create(Start.AddYears(-5)).Write(data);
                break;
            default:
                Assert.Fail($"How is {what} made?");
                break;
        }

        void Use(X509Certificate2 certificate)
        {
            data["ca.crt"] = Encoding.ASCII.GetBytes(certificate.ExportCertificatePem());
            data["ca.key"] = Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem());
        }
    }

    private static Dictionary<string, byte[]> Data(CertificateAuthority authority)
    {
        Dictionary<string, byte[]> data = [];
        authority.Write(data);
        return data;
    }

    private static string Identifier(X509Certificate2 certificate) => certificate.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Single().SubjectKeyIdentifier!;

    private static string Issuer(X509Certificate2 certificate) =>
        Convert.ToHexString(certificate.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().Single().KeyIdentifier!.Value.Span);
}
