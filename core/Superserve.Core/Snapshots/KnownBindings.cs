using System.Collections.Immutable;
using Superserve.Core.Hosts;
using Superserve.Core.Network;
using Superserve.Core.Secrets;

namespace Superserve.Core.Snapshots;

/// <summary>
/// The bindings that a sandbox has, and those that it had: a lost one goes on restricting until one of its name is there again,
/// and with none left nothing gets out. So a running sandbox never gains reach by losing a binding.
/// </summary>
/// <param name="Present">Those that it has.</param>
/// <param name="Lost">Those that it had, the longest lost first.</param>
public sealed record KnownBindings(ImmutableArray<BindingRules> Present, ImmutableArray<BindingRules> Lost)
{
    /// <summary>How many lost bindings are remembered one by one.</summary>
    public const int MaxLost = 64;

    /// <summary>The name of what stands for lost bindings beyond the limit; no binding has it.</summary>
    public const string ForgottenName = "";

    /// <summary>Of what is forgotten only bound hosts stay open, and nobody connects to it.</summary>
    private static readonly BindingRules Forgotten = new(ForgottenName, DenyAll(), Interception.All, []) { AllowIn = [] };

    /// <summary>A sandbox that never had one.</summary>
    public static KnownBindings None { get; } = new([], []);

    /// <summary>All that restrict.</summary>
    public IEnumerable<BindingRules> All => Present.Concat(Lost);

    /// <summary>Whether all connections are inspected, but for <see cref="Passthrough"/>.</summary>
    public Interception Interception => All.Any(binding => binding.Interception == Interception.All) ? Interception.All : Interception.BoundHosts;

    /// <summary>The names that every binding exempts that wants all connections inspected.</summary>
    public ImmutableArray<HostPattern> Passthrough
    {
        get
        {
            HostPattern[][] lists = [.. All.Where(binding => binding.Interception == Interception.All).Select(binding => binding.Passthrough.ToArray())];
            return [.. lists.SelectMany(list => list).Distinct().Where(name => Array.TrueForAll(lists, list => Array.Exists(list, other => other.Covers(name))))];
        }
    }

    /// <summary>These after a change.</summary>
    public KnownBindings Replace(ImmutableArray<BindingRules> present)
    {
        HashSet<string> names = [.. present.Select(binding => binding.Name)];
        // Those lost now come last.
        ImmutableArray<BindingRules> lost = [.. Lost.Concat(Present).Where(binding => !names.Contains(binding.Name))];
        if (lost.Length > MaxLost) lost = [Forgotten, .. lost.TakeLast(MaxLost - 1)];
        return new KnownBindings(present, lost);
    }

    /// <summary>Where the sandbox may connect to.</summary>
    public NetworkRules Network(SpecialRanges ranges) =>
        Present.IsEmpty ? NetworkRules.Closed : new NetworkRules([.. All.Select(binding => binding.Policy).OfType<NetworkPolicy>()], ranges);

    /// <summary>The ports that others may connect to: those that every binding allows that says anything of it; null where none does.</summary>
    public ImmutableArray<int>? AllowIn
    {
        get
        {
            if (Present.IsEmpty) return [];
            ImmutableArray<int>[] lists = [.. All.Select(binding => binding.AllowIn).OfType<ImmutableArray<int>>()];
            return lists.Length == 0 ? null : [.. lists[0].Where(port => Array.TrueForAll(lists, list => list.Contains(port))).Distinct().Order()];
        }
    }

    private static NetworkPolicy DenyAll() =>
        NetworkPolicy.TryParse(null, ["0.0.0.0/0", "::/0"], NetworkMode.Enforce, PublicSuffixList.Embedded, "", new List<SpecError>(), out NetworkPolicy? policy)
            ? policy
            : throw new InvalidOperationException("The rule that denies everything is not valid.");
}
