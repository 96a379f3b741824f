using Superserve.ApiServer.Resources;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Aggregation;

/// <summary>Asks the servers of APIServices whether they answer, and writes the condition Available.</summary>
internal sealed class Availability : IAsyncDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private static readonly ResourceType Type = BuiltInTypes.Get("apiregistration.k8s.io", "apiservices");

    private readonly ObjectStore _store;
    private readonly AggregatedApis _apis;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _ended = new();
    private readonly Task _loop;

    public Availability(ObjectStore store, AggregatedApis apis, TimeProvider time)
    {
        _store = store;
        _apis = apis;
        _time = time;
        _loop = Task.Run(RunAsync);
    }

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await _loop;
        _ended.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
            {
                foreach (AggregatedApi api in _apis.All) await CheckAsync(api);
                await Task.Delay(Interval, TimeProvider.System, _ended.Token);
            }
        }
        catch (OperationCanceledException) when (_ended.IsCancellationRequested)
        {
            // The server stops.
        }
    }

    private async Task CheckAsync(AggregatedApi api)
    {
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(_ended.Token);
        deadline.CancelAfter(Patience);
        bool answers;
        try
        {
            answers = await _apis.DiscoverAsync(api, deadline.Token) is not null;
        }
        catch (OperationCanceledException) when (!_ended.IsCancellationRequested)
        {
            answers = false;
        }

        JsonObject updated = api.Definition.Copy();
        ObjectMeta.SetCondition(updated.Child("status"), "Available", answers ? "True" : "False", answers ? "Passed" : "FailedDiscoveryCheck",
            answers ? "all checks passed" : $"failing or missing response from {api.Path}", _time.GetUtcNow());
        if (!Json.Same(updated, api.Definition)) _store.Replace(Type.Key("", updated.Name()), api.Definition, updated);
    }
}
