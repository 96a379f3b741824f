using System.Text.Json.Serialization;
using System.Threading.Channels;
using Superserve.Core.Events;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Events;

/// <summary>
/// Events as JSON lines. The data path never waits for the disk: each kind has a bounded queue of its own, so that a flood of
/// connections cannot push out requests, and what finds its queue full is counted.
/// </summary>
internal sealed partial class EventLog : BackgroundService
{
    private const int QueueLength = 16 * 1024;

    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    private readonly Channel<RequestEvent> _requests = Channel.CreateBounded<RequestEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });
    private readonly Channel<ConnectionEvent> _connections = Channel.CreateBounded<ConnectionEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });
    private readonly SidecarOptions _options;
    private readonly SidecarMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private volatile bool _writable = true;

    public EventLog(SidecarOptions options, SidecarMetrics metrics, TimeProvider time, ILogger<EventLog> logger)
    {
        _options = options;
        _metrics = metrics;
        _time = time;
        _logger = logger;
        if (options.EventsFile is null || TryOpen(options.EventsFile) is not { } stream) return;
        stream.Dispose();
    }

    /// <summary>Whether a request that uses a secret may go on: always, unless the audit is required and events are not kept.</summary>
    public bool AcceptsSecretRequests => _options.Audit != AuditMode.Required || (_writable && _requests.Reader.Count < QueueLength - 1);

    public void Add(RequestEvent request)
    {
        if (_options.EventsFile is not null && !_requests.Writer.TryWrite(request)) _metrics.EventDropped("request");
    }

    public void Add(ConnectionEvent connection)
    {
        if (_options.EventsFile is not null && !_connections.Writer.TryWrite(connection)) _metrics.EventDropped("connection");
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        _requests.Writer.TryComplete();
        _connections.Writer.TryComplete();
        // What is queued is written before the process ends; the host's shutdown timeout bounds the wait.
        if (ExecuteTask is { } running) await running.WaitAsync(cancellationToken);
        await base.StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.EventsFile is null) return;
        FileStream? file = null;
        List<byte[]> lines = [];
        while (await WaitAsync())
        {
            lines.Clear();
            while (lines.Count < 1024 && _requests.Reader.TryRead(out RequestEvent? request))
                lines.Add(ReadableJson.Serialize(request, EventJson.Default.SidecarEvent));
            while (lines.Count < 2048 && _connections.Reader.TryRead(out ConnectionEvent? connection))
                lines.Add(ReadableJson.Serialize(connection, EventJson.Default.SidecarEvent));

            // A full disk or a lost directory: the lines are kept and tried again, while new ones wait in the queues.
            while (!TryWrite(lines, ref file))
            {
                if (_requests.Reader.Completion.IsCompleted || stoppingToken.IsCancellationRequested) return;
                await Task.Delay(RetryInterval, _time, CancellationToken.None);
            }
        }

        if (file is not null) await file.DisposeAsync();

        async ValueTask<bool> WaitAsync()
        {
            if (_requests.Reader.Count > 0 || _connections.Reader.Count > 0) return true;
            Task<bool> request = _requests.Reader.WaitToReadAsync(CancellationToken.None).AsTask();
            Task<bool> connection = _connections.Reader.WaitToReadAsync(CancellationToken.None).AsTask();
            Task<bool> first = await Task.WhenAny(request, connection);
            return await first || await (first == request ? connection : request);
        }
    }

    private bool TryWrite(List<byte[]> lines, ref FileStream? file)
    {
        long length = -1;
        try
        {
            // Whoever rotates the file moves it away; the next lines go to a new one.
            if (file is not null && !File.Exists(_options.EventsFile)) Close(ref file);
            file ??= TryOpen(_options.EventsFile!);
            if (file is null) return false;
            length = file.Length;
            foreach (byte[] line in lines)
            {
                file.Write(line);
                file.WriteByte((byte)'\n');
            }

            file.Flush();
            if (!_writable) LogWritable(_options.EventsFile!);
            _writable = true;
            return true;
        }
        catch (IOException exception)
        {
            if (_writable) LogUnwritable(_options.EventsFile!, exception.Message);
            _writable = false;
            Truncate(file, length);
            Close(ref file);
            return false;
        }
    }

    // Half a batch on a full disk would be there twice once there is room again.
    private static void Truncate(FileStream? file, long length)
    {
        try
        {
            if (length >= 0) file?.SetLength(length);
        }
        catch (IOException)
        {
            // The disk that did not take the lines may not take this either: the reader finds a cut line then.
        }
    }

    private static void Close(ref FileStream? file)
    {
        try
        {
            file?.Dispose();
        }
        catch (IOException)
        {
            // Disposing flushes what could not be written before.
        }

        file = null;
    }

    private FileStream? TryOpen(string path)
    {
        try
        {
            if (Path.GetDirectoryName(path) is { Length: > 0 } directory) Directory.CreateDirectory(directory);
            return new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.Append,
                Access = FileAccess.Write,
                Share = FileShare.ReadWrite | FileShare.Delete,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            if (_writable) LogUnwritable(path, exception.Message);
            _writable = false;
            return null;
        }
    }

    [LoggerMessage(20, LogLevel.Error, "Events cannot be written to {File}: {Error}. They are kept in memory and tried again; make room, or mend the path.")]
    private partial void LogUnwritable(string file, string error);

    [LoggerMessage(21, LogLevel.Information, "Events are written to {File} again.")]
    private partial void LogWritable(string file);
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SidecarEvent))]
internal sealed partial class EventJson : JsonSerializerContext;
