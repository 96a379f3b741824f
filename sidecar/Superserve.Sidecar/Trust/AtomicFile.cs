using System.Text;

namespace Superserve.Sidecar.Trust;

/// <summary>Files that a reader sees either as they were or as they are, never half written.</summary>
internal static class AtomicFile
{
    /// <summary>Writes beside the file and renames.</summary>
    public static void Write(string path, string text, UnixFileMode mode) => Write(path, Encoding.UTF8.GetBytes(text), mode);

    /// <summary>Writes beside the file and renames.</summary>
    public static void Write(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode)
    {
        string temporary = path + ".new";
        File.Delete(temporary);
        using (FileStream file = new(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = mode,
        })) file.Write(bytes);
        // The mode that a file is created with is cut by the umask.
        File.SetUnixFileMode(temporary, mode);
        File.Move(temporary, path, overwrite: true);
    }
}
