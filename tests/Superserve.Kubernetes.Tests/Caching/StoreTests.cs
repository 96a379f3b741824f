using k8s.Models;
using Superserve.Kubernetes.Caching;
using static Superserve.Kubernetes.Tests.Support.Objects;

namespace Superserve.Kubernetes.Tests.Caching;

public sealed class StoreTests
{
    private readonly Store<V1ConfigMap> _store = new();

    [Fact]
    public void An_index_follows_every_change()
    {
        _store.Set(ParseMap(Map("early", 1, "red")));
        StoreIndex<V1ConfigMap> byColour = _store.AddIndex(map => map.Data["value"].Split(' '));
        _store.Set(ParseMap(Map("late", 2, "red blue")));
        Assert.Equal(["early", "late"], Names(byColour.Find("red")));
        Assert.Equal(["late"], Names(byColour.Find("blue")));

        _store.Set(ParseMap(Map("late", 3, "green")));
        Assert.Equal(["early"], Names(byColour.Find("red")));
        Assert.Empty(byColour.Find("blue"));

        _store.Replace([], []);
        Assert.Empty(byColour.Find("red"));
        Assert.Empty(byColour.Find("green"));
    }

    [Fact]
    public void Objects_are_found_by_namespace()
    {
        _store.Set(ParseMap(Map("a", 1, ns: "one")));
        _store.Set(ParseMap(Map("a", 2, ns: "two")));
        Assert.Equal("1", _store.InNamespace("one").Single().Metadata.ResourceVersion);
        Assert.Empty(_store.InNamespace("three"));
    }

    [Fact]
    public void An_event_that_says_nothing_new_is_none()
    {
        _store.Set(ParseMap(Map("a", 1)));
        Assert.Empty(_store.Set(ParseMap(Map("a", 1))));
        Assert.Empty(_store.Remove(ParseMap(Map("b", 1))));
    }

    private static IEnumerable<string> Names(IEnumerable<V1ConfigMap> maps) => maps.Select(map => map.Metadata.Name).Order();
}
