using System.Text;

namespace Superserve.Core.Scrubbing;

/// <summary>Writes down every form in which a response may give a credential away.</summary>
internal static class ScrubForms
{
    /// <summary>
    /// Shorter pieces of base64 are ordinary text more often than a credential; and <see cref="CandidateFilter"/> looks at three.
    /// </summary>
    private const int MinBase64 = 4;

    /// <summary>The forms of the pairs; of two that match the same, the earlier pair's.</summary>
    public static ScrubForm[] Of(IEnumerable<ScrubPair> pairs)
    {
        HashSet<string> known = new(StringComparer.Ordinal);
        return [.. pairs.SelectMany(Of).Where(form => known.Add(form.Key))];
    }

    private static IEnumerable<ScrubForm> Of(ScrubPair pair)
    {
        byte[] credential = pair.Credential.ToArray();
        byte[] standIn = pair.StandIn.ToArray();
        IEnumerable<ScrubForm> forms = Text(credential, standIn);
        // A service that takes header bytes for Latin-1, as most do, writes them as UTF-8 when it echoes them in a body.
        if (credential.AsSpan().ContainsAnyExceptInRange((byte)0, (byte)0x7f))
            forms = forms.Concat(Text(Encoding.UTF8.GetBytes(Encoding.Latin1.GetString(credential)), standIn));
        foreach (string user in pair.BasicUserNames)
        {
            byte[] prefix = Encoding.UTF8.GetBytes(user + ":");
            forms = forms.Concat(Rendered([.. prefix, .. credential], [.. prefix, .. standIn]));
        }

        // The credential as the user name, with an empty password.
        forms = forms.Concat(Rendered([.. credential, (byte)':'], [.. standIn, (byte)':']));
        for (int before = 0; before < 3; before++) forms = forms.Concat(Aligned(credential, standIn, before));
        return forms;
    }

    private static IEnumerable<ScrubForm> Text(byte[] credential, byte[] standIn)
    {
        EscapedUnit.Kinds escapes = EscapedUnit.Kinds.None;
        foreach (byte unit in credential) escapes |= EscapedUnit.KindOf(unit);
        for (int all = (int)escapes, some = all; ; some = (some - 1) & all)
        {
            ScrubForm.End end = new(credential.Length, standIn);
            yield return new ScrubForm(credential, false, [end], (EscapedUnit.Kinds)some);
            if (some == 0) break;
        }
    }

    /// <summary>The base64 of something that ends with the credential or close to it, from its beginning to its end.</summary>
    private static IEnumerable<ScrubForm> Rendered(byte[] from, byte[] to)
    {
        string units = Convert.ToBase64String(from);
        string standIn = Convert.ToBase64String(to);
        int length = units.TrimEnd('=').Length;
        return length == units.Length
            ? Base64(units, [(length, standIn, false)])
            : Base64(units, [(length, standIn.TrimEnd('='), true), (units.Length, standIn, false)]);
    }

    /// <summary>
    /// The credential within a longer base64 text, after <paramref name="before"/> unknown bytes of a group of three. The first
    /// character that depends on the credential alone begins the form. The character that it shares with what follows is part
    /// of it only where that is nothing, or bits that are zero as well.
    /// </summary>
    private static IEnumerable<ScrubForm> Aligned(byte[] credential, byte[] standIn, int before)
    {
        // A group's characters hold bits 0-5, 6-11, 12-17 and 18-23: after one byte the third is the first own, after two the
        // fourth.
        int first = before == 0 ? 0 : before + 1;
        string units = Convert.ToBase64String([.. new byte[before], .. credential])[first..];
        string ended = Convert.ToBase64String([.. new byte[before], .. standIn])[first..];

        // With what may follow at the same place of its group, that still decodes to what it was.
        int filler = (((credential.Length - standIn.Length) % 3) + 3) % 3;
        byte[] filled = [.. new byte[before], .. standIn, .. Enumerable.Repeat((byte)'.', filler)];
        string bare = Convert.ToBase64String(filled)[first..].TrimEnd('=');

        int length = units.TrimEnd('=').Length;
        return length == units.Length
            ? Base64(units, [(length, bare, false)])
            : Base64(units, [(length - 1, bare[..^1], false), (length, bare, false), (units.Length, ended, false)]);
    }

    private static IEnumerable<ScrubForm> Base64(string units, (int Length, string StandIn, bool ToUrlSafe)[] ends)
    {
        List<ScrubForm.End> kept = [];
        foreach ((int length, string standIn, bool toUrlSafe) in ends)
        {
            bool told = units.AsSpan(0, length).ContainsAny('+', '/');
            if (length >= MinBase64) kept.Add(new ScrubForm.End(length, standIn, toUrlSafe, told));
        }

        if (kept.Count > 0) yield return new ScrubForm(Encoding.ASCII.GetBytes(units), true, [.. kept]);
    }
}
