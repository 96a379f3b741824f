using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Superserve.Protocol.Audit;

namespace Superserve.Audit.Storing;

/// <summary>
/// What indexes have in the place of names: a number, so that they stay small and every name is as good as another. Whoever finds a
/// row by one compares the name too, so two names with one number cost time, and nothing else.
/// </summary>
internal static class Keys
{
    /// <summary>Of a value within a namespace, or, where that is empty, over all of them.</summary>
    public static long Of(Field field, string inNamespace, string value)
    {
        Span<byte> text = stackalloc byte[3072];
        text[0] = (byte)field;
        int at = 1 + Encoding.UTF8.GetBytes(inNamespace, text[1..]);
        text[at++] = 0;
        at += Encoding.UTF8.GetBytes(value, text[at..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(text[..at], hash);
        return BinaryPrimitives.ReadInt64LittleEndian(hash);
    }

    /// <summary>Of a namespace itself.</summary>
    public static long Of(string inNamespace) => Of(Field.Unspecified, inNamespace, "");
}
