namespace Superserve.Operator.Certificates;

/// <summary>
/// The operator's CA: the one that signs and the one that will sign after it. Whoever trusts <see cref="Bundle"/> trusts both, so that
/// a rotation surprises nobody: a CA has been in every bundle for about a third of its life before it signs anything, signs for a
/// third, and is left a third in which what it signed stays valid.
/// </summary>
internal sealed class CertificateAuthority
{
    /// <summary>The entries of the Secret.</summary>
    public const string CurrentCertificate = "ca.crt", CurrentKey = "ca.key", NextCertificate = "next.crt", NextKey = "next.key";

    /// <summary>
    /// How long a CA is published before it signs, also when rotations come late because no operator ran. Less than the third of a
    /// life that it is in the ordinary course.
    /// </summary>
    private static readonly TimeSpan Lead = SigningAuthority.Lifetime / 4;

    private CertificateAuthority(SigningAuthority current, SigningAuthority next)
    {
        Current = current;
        Next = next;
    }

    /// <summary>The one that signs.</summary>
    public SigningAuthority Current { get; }

    /// <summary>The one that signs next.</summary>
    public SigningAuthority Next { get; }

    /// <summary>Both certificates.</summary>
    public string Bundle => Current.CertificatePem + Next.CertificatePem;

    /// <summary>
    /// When the next becomes the current one: at two thirds of the current one's life and no sooner than the next is known widely
    /// enough, unless the current one ends so soon that it could not sign a whole leaf.
    /// </summary>
    public DateTimeOffset RotatesAt
    {
        get
        {
            DateTimeOffset known = Next.NotBefore + Lead;
            DateTimeOffset due = Current.TwoThirds > known ? Current.TwoThirds : known;
            DateTimeOffset last = Current.NotAfter - SigningAuthority.LeafLifetime;
            return due < last ? due : last;
        }
    }

    /// <summary>
    /// Makes the first pair. Its current CA counts as a third of a life old: of two of one age the second would have to be replaced
    /// as soon as it began to sign, and by one that nobody knows.
    /// </summary>
    public static CertificateAuthority Create(DateTimeOffset now) => new(
        SigningAuthority.Create(now - (SigningAuthority.Lifetime / 3)), SigningAuthority.Create(now - SigningAuthority.Backdated));

    /// <summary>The authority as it has to be at a time: itself, or rotated by one step.</summary>
    public CertificateAuthority At(DateTimeOffset now) =>
        now < RotatesAt ? this : new CertificateAuthority(Next, SigningAuthority.Create(now - SigningAuthority.Backdated));

    /// <summary>Whether this is <paramref name="earlier"/> or what one rotation made of it.</summary>
    public bool Succeeds(CertificateAuthority earlier) =>
        Current.CertificatePem == earlier.Current.CertificatePem || Current.CertificatePem == earlier.Next.CertificatePem;

    /// <summary>Reads the data of a Secret.</summary>
    /// <exception cref="UnusableSecretException">It is no such pair, or one whose time is over.</exception>
    public static CertificateAuthority Read(IDictionary<string, byte[]> data, DateTimeOffset now)
    {
        SigningAuthority current = SigningAuthority.Read(data, CurrentCertificate, CurrentKey);
        SigningAuthority next = SigningAuthority.Read(data, NextCertificate, NextKey);
        if (current.CertificatePem == next.CertificatePem)
            throw new UnusableSecretException($"{CurrentCertificate} and {NextCertificate} are one certificate, and have to be two");
        // An expired current one is replaced by the next; with the next expired too nobody is left who trusts anything in here.
        if (next.NotAfter <= now) throw new UnusableSecretException($"the certificate in {NextCertificate} expired on {next.NotAfter:yyyy-MM-dd}");
        return new CertificateAuthority(current, next);
    }

    /// <summary>Writes the data of a Secret.</summary>
    public void Write(IDictionary<string, byte[]> data)
    {
        Current.Write(data, CurrentCertificate, CurrentKey);
        Next.Write(data, NextCertificate, NextKey);
    }
}
