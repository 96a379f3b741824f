using System.Security.Cryptography;

namespace Superserve.Benchmarks.Http;

/// <summary>What the services answer with, and what is uploaded: text, in which a scrubber finds beginnings of much, and no credential.</summary>
internal sealed class ServedFiles : IDisposable
{
    /// <summary>A file's path at a service.</summary>
    public const string Tiny = "/tiny", Small = "/10k", Medium = "/100k", Huge = "/1g";

    public const long HugeLength = 1L << 30;

    public ServedFiles(bool hasHuge)
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("served-").FullName;
        Write(Tiny, 100);
        Write(Small, 10 * 1024);
        Write(Medium, 100 * 1024);
        if (hasHuge) Write(Huge, HugeLength);
    }

    public string Directory { get; }

    public string PathOf(string name) => Directory + name;

    public void Dispose() => System.IO.Directory.Delete(Directory, recursive: true);

    private void Write(string name, long length)
    {
        byte[] block = System.Text.Encoding.ASCII.GetBytes(Convert.ToBase64String(RandomNumberGenerator.GetBytes(768 * 1024), Base64FormattingOptions.InsertLineBreaks));
        using FileStream file = File.Create(PathOf(name));
        while (file.Position < length) file.Write(block, 0, (int)Math.Min(block.Length, length - file.Position));
    }
}
