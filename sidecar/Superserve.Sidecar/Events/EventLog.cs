using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Threading.Channels;
using Superserve.Core.Events;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Metrics;

namespace Superserve.Sidecar.Events;

/// <summary>
/// Events as JSON lines. The data path never waits for the disk: each kind has a bounded queue of its own, so that a flood of
/// connections or names cannot push out requests, and what finds its queue full is counted.
/// </summary>
internal sealed partial class EventLog : BackgroundService, IEventSink
{
    private const int QueueLength = 16 * 1024;
    private const int BatchLength = 1024;

    /// <summary>Places differ in nothing: they are counted.</summary>
    private const int Place = 0;

    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    /// <summary>
    /// After a batch the next one gathers for this long: to wake a thread for every event costs more than the event. Of the
    /// system's clock, since it is about the load of the machine.
    /// </summary>
    private static readonly TimeSpan GatheringTime = TimeSpan.FromMilliseconds(20);

    /// <summary>For what is still queued when the process ends.</summary>
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(3);

    private readonly Channel<RequestEvent> _requests = Channel.CreateBounded<RequestEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });
    private readonly Channel<ConnectionEvent> _connections = Channel.CreateBounded<ConnectionEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });

    private readonly Channel<DnsEvent> _lookUps = Channel.CreateBounded<DnsEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });

    // Says that there may be something in any queue; one word is enough for any number of events.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private readonly SidecarOptions _options;
    private readonly SidecarMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly TaskCompletionSource _stopping = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _reserved;
    private volatile bool _writable = true;
    private volatile int _unwritten;

    public EventLog(SidecarOptions options, SidecarMetrics metrics, TimeProvider time, ILogger<EventLog> logger)
    {
        _options = options;
        _metrics = metrics;
        _time = time;
        _logger = logger;
        // Tells at the start, and not at the first event, that the path is wrong.
        if (options.EventsFile is not null) TryOpen(options.EventsFile)?.Dispose();
    }

    /// <inheritdoc />
    public bool TryBegin(RequestEvent begun, AuditMode audit, out int place)
    {
        place = IEventSink.NoPlace;
        if (audit != AuditMode.Required) return true;
        if (!_writable || _options.EventsFile is null) return false;
        if (Interlocked.Increment(ref _reserved) + _requests.Reader.Count < QueueLength)
        {
            place = Place;
            return true;
        }

        Interlocked.Decrement(ref _reserved);
        return false;
    }

    /// <inheritdoc />
    public void Complete(int place, RequestEvent request)
    {
        Add(request);
        if (place == Place) Interlocked.Decrement(ref _reserved);
    }

    /// <inheritdoc />
    public void Add(SidecarEvent item)
    {
        if (item is RequestEvent request) Add(_requests, request, "request");
        else if (item is ConnectionEvent connection) Add(_connections, connection, "connection");
        else if (item is DnsEvent lookUp) Add(_lookUps, lookUp, "dns");
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        _requests.Writer.TryComplete();
        _connections.Writer.TryComplete();
        _lookUps.Writer.TryComplete();
        _wake.Writer.TryComplete();
        _stopping.TrySetResult();
        if (ExecuteTask is { } running) await running.WaitAsync(FlushTimeout, _time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        int lost = _unwritten;
        for (; _requests.Reader.TryRead(out _); lost++) _metrics.EventDropped("request", DropReason.Unwritten);
        for (; _connections.Reader.TryRead(out _); lost++) _metrics.EventDropped("connection", DropReason.Unwritten);
        for (; _lookUps.Reader.TryRead(out _); lost++) _metrics.EventDropped("dns", DropReason.Unwritten);
        if (lost > 0) LogLost(lost, _options.EventsFile!);
        await base.StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.EventsFile is null) return;
        OpenLog? log = null;
        using Lines lines = new();
        bool more = true;
        while (more)
        {
            more = await _wake.Reader.WaitToReadAsync(CancellationToken.None);
            _wake.Reader.TryRead(out _);
            if (log is not null) await Task.WhenAny(Task.Delay(GatheringTime, TimeProvider.System, CancellationToken.None), _stopping.Task);
            while (Take(lines))
            {
                // A full disk or a lost directory: the lines are kept and tried again, while new ones wait in the queues.
                while (!TryWrite(lines, ref log))
                {
                    if (_stopping.Task.IsCompleted)
                    {
                        _unwritten = lines.Count;
                        return;
                    }

                    await Task.WhenAny(Task.Delay(RetryInterval, _time, CancellationToken.None), _stopping.Task);
                }
            }
        }

        log?.Dispose();
    }

    private void Add<T>(Channel<T> queue, T item, string kind)
    {
        if (_options.EventsFile is null) return;
        if (!queue.Writer.TryWrite(item)) _metrics.EventDropped(kind, DropReason.Full);
        _wake.Writer.TryWrite(true);
    }

    /// <summary>Requests first: they are what must not be lost.</summary>
    private bool Take(Lines lines)
    {
        lines.Clear();
        for (int i = 0; i < BatchLength && _requests.Reader.TryRead(out RequestEvent? request); i++) lines.Add(request);
        for (int i = 0; i < BatchLength && _connections.Reader.TryRead(out ConnectionEvent? connection); i++) lines.Add(connection);
        for (int i = 0; i < BatchLength && _lookUps.Reader.TryRead(out DnsEvent? lookUp); i++) lines.Add(lookUp);
        return lines.Count > 0;
    }

    private bool TryWrite(Lines lines, ref OpenLog? log)
    {
        try
        {
            // Whoever rotates the file moves it away or empties it; the next lines go to the file of that name.
            if (log is { } open && FileStamp.Of(_options.EventsFile!) is var stamp && (stamp.Inode != open.Inode || stamp.Size < (ulong)open.File.Position)) Close(ref log);
            log ??= TryOpen(_options.EventsFile!);
            if (log is null) return false;
            long length = log.File.Position;
            try
            {
                log.File.Write(lines.Text);
                log.File.Flush();
            }
            catch (IOException)
            {
                // Half a batch would be there twice once there is room again.
                log.File.SetLength(length);
                throw;
            }

            if (!_writable) LogWritable(_options.EventsFile!);
            _writable = true;
            return true;
        }
        catch (IOException exception)
        {
            if (_writable) LogUnwritable(_options.EventsFile!, exception.Message);
            _writable = false;
            Close(ref log);
            return false;
        }
    }

    private static void Close(ref OpenLog? log)
    {
        try
        {
            log?.Dispose();
        }
        catch (IOException)
        {
            // Disposing flushes what could not be written before.
        }

        log = null;
    }

    private OpenLog? TryOpen(string path)
    {
        try
        {
            if (Path.GetDirectoryName(path) is { Length: > 0 } directory) Directory.CreateDirectory(directory);
            if (FileStamp.Of(path).IsPipe) throw new IOException("it is a pipe, and nobody may read the other end; name a regular file");
            bool isCut = EndsInMidLine(path);
            FileStream file = new(path, new FileStreamOptions
            {
                Mode = FileMode.Append,
                Access = FileAccess.Write,
                Share = FileShare.ReadWrite | FileShare.Delete,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            if (isCut) file.WriteByte((byte)'\n');
            return new OpenLog(file, FileStamp.Of(path).Inode);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            if (_writable) LogUnwritable(path, exception.Message);
            _writable = false;
            return null;
        }
    }

    /// <summary>A process that was killed can leave half a line; the next one gets a line of its own.</summary>
    private static bool EndsInMidLine(string path)
    {
        if (FileStamp.Of(path) is var stamp && (stamp.Size == 0 || stamp.IsSpecial)) return false;
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        file.Seek(-1, SeekOrigin.End);
        return file.ReadByte() != '\n';
    }

    private sealed record OpenLog(FileStream File, ulong Inode) : IDisposable
    {
        public void Dispose() => File.Dispose();
    }

    [LoggerMessage(20, LogLevel.Error, "Events cannot be written to {File}: {Error}. They are kept in memory and tried again; make room, or mend the path.")]
    private partial void LogUnwritable(string file, string error);

    [LoggerMessage(22, LogLevel.Error, "{Count} events are lost: they could not be written to {File} before the end.")]
    private partial void LogLost(int count, string file);

    [LoggerMessage(21, LogLevel.Information, "Events are written to {File} again.")]
    private partial void LogWritable(string file);

    /// <summary>Some events, a line each, in a buffer that serves one batch after another.</summary>
    private sealed class Lines : IDisposable
    {
        private readonly ArrayBufferWriter<byte> _text = new(4 * 1024);
        private readonly Utf8JsonWriter _writer;

        public Lines() => _writer = ReadableJson.Writer(_text);

        public int Count { get; private set; }

        public ReadOnlySpan<byte> Text => _text.WrittenSpan;

        public void Add(SidecarEvent item)
        {
            JsonSerializer.Serialize(_writer, item, EventJson.Default.SidecarEvent);
            _writer.Flush();
            _writer.Reset();
            _text.Write("\n"u8);
            Count++;
        }

        public void Clear()
        {
            _text.ResetWrittenCount();
            Count = 0;
        }

        public void Dispose() => _writer.Dispose();
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SidecarEvent))]
internal sealed partial class EventJson : JsonSerializerContext;
