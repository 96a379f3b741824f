using k8s.Models;
using Superserve.Kubernetes;
using Superserve.Kubernetes.Api;
using Superserve.Kubernetes.Caching;
using Superserve.Kubernetes.Controllers;
using Superserve.Kubernetes.Queueing;
using Superserve.Operator.Configuration;

namespace Superserve.Operator.Certificates;

/// <summary>
/// A core Secret of the operator's own that all replicas share: whichever comes first makes it, all read it, and each holds its value
/// in memory. What happens to the Secret then:
/// <list type="bullet">
/// <item>It is deleted: it is written again from memory, because the value is out in the world. To really get a new one, stop all
/// replicas, delete it, and start them.</item>
/// <item>It is spoilt (entries gone, halves that do not belong together): it is written again from memory, too. A replica that has
/// nothing in memory leaves it alone, says what is wrong and is not ready: what stands there may be the only copy of something.</item>
/// <item>It holds another usable value: <see cref="Accepts"/> decides.</item>
/// <item>The API server is away: the value in memory goes on working.</item>
/// </list>
/// Writes are a POST, or a PUT with the resource version that was read; who loses the race reads what the other wrote.
/// </summary>
public abstract partial class KeptSecret<T> : BackgroundService
    where T : class
{
    private static readonly ResourceKind Kind = ResourceKind.Of<V1Secret>();
    private static readonly Backoff Backoff = new(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(30));

    private readonly KubernetesConnection _connection;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ObjectKey _key;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly Informer<V1Secret> _informer;
    private readonly Controller<ObjectKey> _controller;
    private volatile T? _value;
    private volatile string? _problem;

    private protected KeptSecret(
        string name, KubernetesConnection connection, OperatorOptions options, KubernetesMetrics metrics, TimeProvider time, ILoggerFactory loggers)
    {
        _connection = connection;
        _time = time;
        _logger = loggers.CreateLogger(GetType());
        _key = new ObjectKey(options.Namespace, name);
        _problem = $"The Secret {_key} has not been read yet.";
        _queue = new WorkQueue<ObjectKey>(name, metrics, time, Backoff);
        InformerOptions watched = new() { Namespace = _key.Namespace, FieldSelector = $"metadata.name={name}" };
        // The watch only says that something happened; the key itself is not kept a second time.
        _informer = new Informer<V1Secret>(connection, watched, metrics, time, loggers.CreateLogger<Informer<V1Secret>>(), WithoutData);
        _informer.Subscribe(change => _queue.Add(_key));
        _controller = new Controller<ObjectKey>(name, _queue, ReconcileAsync, metrics, time, loggers.CreateLogger<Controller<ObjectKey>>()) { Workers = 1 };
    }

    /// <summary>
    /// What is wrong, what it means and what to change, for /readyz; null when nothing is. With a value in memory this replica works
    /// all the same.
    /// </summary>
    public string? Problem => _problem;

    /// <summary>Whether the API server keeps the Secret from being changed.</summary>
    private protected virtual bool IsImmutable => false;

    /// <summary>What is lost with the value, as a sentence for messages.</summary>
    private protected abstract string Loss { get; }

    /// <summary>The value in memory.</summary>
    private protected T? Value => _value;

    /// <summary>Makes the first value.</summary>
    private protected abstract T Make(DateTimeOffset now);

    /// <summary>Reads a Secret's data, or throws <see cref="UnusableSecretException"/>.</summary>
    private protected abstract T Read(IDictionary<string, byte[]> data, DateTimeOffset now);

    /// <summary>Writes a Secret's data.</summary>
    private protected abstract void Write(T value, IDictionary<string, byte[]> data);

    /// <summary>Whether a usable value takes the place of the one in memory. If not, the answer is what to say.</summary>
    private protected abstract bool Accepts(T known, T found, out string? problem);

    /// <summary>What a value has to be at a time; the same object where nothing is due.</summary>
    private protected virtual T Renew(T value, DateTimeOffset now) => value;

    /// <summary>Puts a value to use, again and again, and says how long that is good for.</summary>
    private protected abstract TimeSpan? Use(T value, DateTimeOffset now);

    /// <inheritdoc />
    public override void Dispose()
    {
        _queue.Dispose();
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        _queue.Add(_key);
        await Task.WhenAll(_informer.RunAsync(stoppingToken), _controller.RunAsync([], stoppingToken));
    }

    private protected virtual void Report(string? problem)
    {
        if (problem is not null && problem != _problem) LogProblem(problem);
        _problem = problem;
    }

    private async Task<Result> ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        // First, so that what is in memory works on while the API server is away.
        if (_value is { } known) Use(known, _time.GetUtcNow());
        try
        {
            return await ReconcileAsync(cancellationToken);
        }
        catch (ApiException exception) when (exception.IsConflict)
        {
            // Another replica was first: look at what it wrote.
            return Result.Again(TimeSpan.Zero);
        }
        catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
        {
            Report($"The Secret {_key} cannot be read or written, which is tried again: {exception.Message} "
                + "Where access is refused, compare the operator's Role with the chart's.");
            throw;
        }
    }

    private async Task<Result> ReconcileAsync(CancellationToken cancellationToken)
    {
        DateTimeOffset now = _time.GetUtcNow();
        V1Secret? live = await GetAsync(cancellationToken);
        if (live is null)
        {
            live = await CreateAsync(_value ?? Make(now), cancellationToken);
            LogWritten(_key, _value is null ? "it did not exist" : "it was deleted");
        }

        T found;
        try
        {
            found = Read(live.Data ?? new Dictionary<string, byte[]>(), now);
        }
        catch (UnusableSecretException exception) when (_value is not null)
        {
            await UpdateAsync(live, _value, cancellationToken);
            LogRestored(_key, exception.Message);
            return Result.Again(TimeSpan.Zero);
        }
        catch (UnusableSecretException exception)
        {
            Report($"The Secret {_key} cannot be used and is left as it is: {exception.Message}. Put its former content back, or delete it "
                + $"and the operator makes a new one. {Loss}");
            return Result.Done;
        }

        string? problem = null;
        if (_value is { } known && !Accepts(known, found, out problem)) found = known;
        else
        {
            T due = Renew(found, now);
            if (!ReferenceEquals(due, found))
            {
                await UpdateAsync(live, due, cancellationToken);
                LogWritten(_key, "it was due for renewal");
                found = due;
            }
        }

        _value = found;
        Report(problem);
        return new Result(Use(found, now));
    }

    private async Task<V1Secret?> GetAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _connection.SendAsync<V1Secret>(HttpMethod.Get, Kind.ObjectPath(_key), cancellationToken: cancellationToken);
        }
        catch (ApiException exception) when (exception.IsNotFound)
        {
            return null;
        }
    }

    private async Task<V1Secret> CreateAsync(T value, CancellationToken cancellationToken)
    {
        V1Secret secret = new()
        {
            ApiVersion = Kind.ApiVersion,
            Kind = Kind.Kind,
            Metadata = new V1ObjectMeta
            {
                Name = _key.Name,
                NamespaceProperty = _key.Namespace,
                Labels = new Dictionary<string, string>
                {
                    ["app.kubernetes.io/part-of"] = "superserve",
                    ["app.kubernetes.io/managed-by"] = "superserve-operator",
                },
            },
            Type = "Opaque",
            Immutable = IsImmutable ? true : null,
            Data = new Dictionary<string, byte[]>(),
        };
        Write(value, secret.Data);
        return await _connection.SendAsync<V1Secret>(HttpMethod.Post, Kind.CollectionPath(_key.Namespace), secret, cancellationToken: cancellationToken);
    }

    private async Task UpdateAsync(V1Secret live, T value, CancellationToken cancellationToken)
    {
        live.Data ??= new Dictionary<string, byte[]>();
        Write(value, live.Data);
        await _connection.SendAsync<V1Secret>(HttpMethod.Put, Kind.ObjectPath(_key), live, cancellationToken: cancellationToken);
    }

    private static V1Secret WithoutData(V1Secret secret)
    {
        secret.Data = null;
        return secret;
    }

    [LoggerMessage(300, LogLevel.Error, "{Problem}")]
    private partial void LogProblem(string problem);

    [LoggerMessage(301, LogLevel.Information, "The Secret {Secret} was written: {Reason}.")]
    private partial void LogWritten(ObjectKey secret, string reason);

    [LoggerMessage(302, LogLevel.Warning, "The Secret {Secret} was spoilt by somebody and is written again from memory: {Problem}. To replace it, stop all replicas first.")]
    private partial void LogRestored(ObjectKey secret, string problem);
}
