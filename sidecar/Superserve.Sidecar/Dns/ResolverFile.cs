using System.Globalization;
using System.Net;
using Superserve.Core.Hosts;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Trust;

namespace Superserve.Sidecar.Dns;

/// <summary>What resolv.conf(5) says, with that page's bounds and defaults.</summary>
internal sealed record ResolverSettings(IReadOnlyList<IPEndPoint> Servers, IReadOnlyList<string> Search, int Dots, TimeSpan Timeout, int Attempts)
{
    private const int MaxServers = 3;
    private const int MaxSearch = 32;
    private const int DnsPort = 53;

    /// <summary>Reads the file's text; what is not understood is passed over, as libc does.</summary>
    public static ResolverSettings Parse(string text)
    {
        List<IPEndPoint> servers = [];
        string[] search = [];
        (int dots, int timeout, int attempts) = (1, 5, 2);
        foreach (string line in text.Split('\n'))
        {
            if (line.StartsWith('#') || line.StartsWith(';')) continue;
            string[] words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case ["nameserver", { } address, ..] when servers.Count < MaxServers && ReadServer(address) is { } server:
                    servers.Add(server);
                    break;
                case ["search" or "domain", ..]:
                    search = [.. words.Skip(1).Select(Canonical).OfType<string>().Take(MaxSearch)];
                    break;
                case ["options", ..]:
                    foreach (string option in words.Skip(1))
                    {
                        dots = Option(option, "ndots:", 0, 15) ?? dots;
                        timeout = Option(option, "timeout:", 1, 30) ?? timeout;
                        attempts = Option(option, "attempts:", 1, 5) ?? attempts;
                    }

                    break;
                default:
                    break;
            }
        }

        if (servers.Count == 0) servers.Add(new IPEndPoint(IPAddress.Loopback, DnsPort));
        return new ResolverSettings(servers, search, dots, TimeSpan.FromSeconds(timeout), attempts);
    }

    /// <summary>An address, or <c>[address]:port</c> as other systems write it.</summary>
    private static IPEndPoint? ReadServer(string text)
    {
        if (text.StartsWith('[') && IPEndPoint.TryParse(Unbracket(text), out IPEndPoint? endPoint)) return endPoint;
        return IPAddress.TryParse(text, out IPAddress? address) ? new IPEndPoint(address, DnsPort) : null;
    }

    private static string Unbracket(string text) => text.Contains('.') ? text.Replace("[", "", StringComparison.Ordinal).Replace("]", "", StringComparison.Ordinal) : text;

    private static string? Canonical(string name) => HostName.TryCanonicalize(name, out string? canonical) ? canonical : null;

    private static int? Option(string text, string name, int least, int most) =>
        text.StartsWith(name, StringComparison.Ordinal) && int.TryParse(text.AsSpan(name.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
            ? Math.Clamp(value, least, most)
            : null;
}

/// <summary>
/// The resolvers' file. In a pod it is read once: the kubelet never changes it, but all containers share it, and root in the
/// sandbox could write a server of its own into it, which would then say where the names on a strict list are. A restarted sidecar
/// goes on with what the first one read, before any container of the sandbox ran. Elsewhere it is read again when it changes.
/// </summary>
internal sealed class ResolverFile
{
    private const int MaxLength = 64 * 1024;
    private const string KeptName = "resolv.conf";

    private readonly string _path;
    private readonly bool _isKept;
    private readonly Lock _lock = new();
    private FileStamp _stamp = FileStamp.Unread;
    private ResolverSettings? _settings;

    /// <summary>Reads the file that is to be kept.</summary>
    /// <exception cref="InvalidOperationException">It cannot be read or kept.</exception>
    public ResolverFile(SidecarOptions options)
    {
        _path = options.ResolverFile;
        if (!options.KeepsResolvers) return;
        _isKept = true;
        string? kept = options.StateDirectory is { } state ? Path.Combine(state, KeptName) : null;
        try
        {
            bool isFirst = !File.Exists(kept);
            string text = Read(isFirst ? _path : kept!);
            if (isFirst && kept is not null) AtomicFile.Write(kept, text, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            _settings = ResolverSettings.Parse(text);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InvalidOperationException(
                $"{_path} cannot be read{(kept is null ? "" : $" and kept in {kept}")} ({exception.Message.TrimEnd('.')}). It names the DNS servers, without which no name is resolved, so the sidecar does not start. In a pod the kubelet writes it: make the pod anew.", exception);
        }
    }

    /// <summary>The settings as they are now.</summary>
    public ResolverSettings Current
    {
        get
        {
            lock (_lock)
            {
                if (_isKept) return _settings!;
                FileStamp stamp = FileStamp.Of(_path);
                if (_settings is not null && stamp == _stamp) return _settings;
                try
                {
                    _settings = ResolverSettings.Parse(Read(_path));
                    _stamp = stamp;
                }
                catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
                {
                    // Being replaced, or not there: what was read last, or else the default, which is the machine itself.
                    _settings ??= ResolverSettings.Parse("");
                }

                return _settings;
            }
        }
    }

    private static string Read(string path)
    {
        if (FileStamp.Of(path).IsSpecial) throw new IOException("it is no regular file");
        using FileStream file = File.OpenRead(path);
        if (file.Length > MaxLength) throw new IOException($"it is longer than {MaxLength} bytes");
        using StreamReader reader = new(file);
        return reader.ReadToEnd();
    }
}
