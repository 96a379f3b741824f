using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Superserve.Operator.Bindings;
using Superserve.Operator.Resources;
using Superserve.Operator.Tests.Delivery.Fixture;
using Superserve.Protocol;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>What holds of every snapshot, whatever the namespace looks like.</summary>
public sealed class SnapshotBuilderProperties
{
    private static readonly string[] Names = ["alpha", "beta", "gamma"];
    private static readonly string[] Variables = ["A", "B", "C"];
    private static readonly string[] Apps = ["agent", "agent", "builder"];

    [Property(Arbitrary = [typeof(Worlds)], MaxTest = 500)]
    public void A_sandbox_gets_a_credential_only_by_a_live_binding_that_nobody_contests(Any any)
    {
        foreach (BoundSecret secret in any.World.Message().Secrets.Where(secret => secret.CredentialCase == BoundSecret.CredentialOneofCase.Available))
        {
            // Said once more, without the code that is tested.
            string[] given = [.. from binding in any.World.Bindings
                                 where binding.Spec!.Selector!.MatchLabels!["app"] == any.World.Labels["app"] && !(binding.Spec!.ExpiresAt <= World.Now)
                                 from item in binding.Spec!.Secrets!
                                 where item.Env == secret.Env
                                 select item.SecretName];
            Assert.Equal([secret.Secret], given.Distinct());
            Assert.Equal(World.CredentialOf(any.World.Secrets[secret.Secret].Uid), secret.Available.ToStringUtf8());
            Assert.False(secret.Detached);
        }
    }

    [Property(Arbitrary = [typeof(Worlds)], MaxTest = 500)]
    public void No_credential_stands_anywhere_but_in_its_own_field(Any any)
    {
        Snapshot message = any.World.Message();
        foreach (BoundSecret secret in message.Secrets.Where(secret => secret.CredentialCase == BoundSecret.CredentialOneofCase.Available)) secret.ClearCredential();
        Assert.DoesNotContain("credential-of-", System.Text.Encoding.UTF8.GetString(Google.Protobuf.MessageExtensions.ToByteArray(message)), StringComparison.Ordinal);
        Assert.DoesNotContain("credential-of-", any.World.Message().ToString(), StringComparison.Ordinal);
    }

    [Property(Arbitrary = [typeof(Worlds)], MaxTest = 500)]
    public void A_sidecar_takes_every_snapshot(Any any) => World.AssertTaken(any.World.Message());

    [Property(Arbitrary = [typeof(Worlds)], MaxTest = 500)]
    public void Every_recorded_stand_in_of_a_secret_that_is_known_stays_known(Any any)
    {
        HashSet<string> sent = [.. any.World.Message().Secrets.Select(secret => secret.StandIn)];
        foreach (RecordedStandIn recorded in any.World.Recorded.Where(recorded => any.World.Secrets.GetValueOrDefault(recorded.SecretName)?.Uid == recorded.SecretUid))
            Assert.Contains(World.StandInOf(recorded), sent);
    }

    [Property(Arbitrary = [typeof(Worlds)], MaxTest = 200)]
    public void Order_makes_no_difference(Any any)
    {
        Snapshot first = any.World.Message();
        any.World.Bindings.Reverse();
        any.World.Recorded.Reverse();
        Assert.Equal(first, any.World.Message());
    }

    /// <summary>A world that prints as what it was made from.</summary>
    public sealed class Any
    {
        internal Any(World world) => World = world;

        internal World World { get; }

        public override string ToString() => string.Join("; ",
            [.. World.Bindings.Select(binding => $"{binding.Metadata.Name} → {string.Join(',', binding.Spec!.Secrets!.Select(item => $"{item.Env}={item.SecretName}"))} for {binding.Spec.Selector!.MatchLabels!["app"]} until {binding.Spec.ExpiresAt}"),
             .. World.Secrets.Select(secret => $"{secret.Key} is {secret.Value.Uid}"), .. World.Recorded.Select(recorded => $"recorded {recorded.Env}={recorded.SecretName} {recorded.SecretUid}")]);
    }

    public static class Worlds
    {
        public static Arbitrary<Any> Arbitrary() => (
            from secrets in Gen.Elements(0, 1, 2, 3).ArrayOf(Names.Length)
            from bindings in Binding().ListOf().Resize(5)
            from recorded in Gen.Choose(0, (Names.Length * 2) - 1).ArrayOf(Variables.Length)
            from count in Gen.Choose(0, Variables.Length)
            select Make(secrets, [.. bindings], recorded, count)).ToArbitrary();

        private static Gen<(string App, int Expiry, string[] Secrets)> Binding() =>
            from app in Gen.Elements(Apps)
            from expiry in Gen.Elements(0, 0, -1, 1)
            from secrets in Gen.Elements(Names).ArrayOf(Variables.Length)
            from count in Gen.Choose(1, Variables.Length)
            select (app, expiry, secrets[..count]);

        private static Any Make(int[] secrets, (string App, int Expiry, string[] Secrets)[] bindings, int[] recorded, int count)
        {
            World world = new();
            // 0: not there; 1 and 2: there, of this or that UID; 3: there without its core Secret.
            for (int i = 0; i < secrets.Length; i++)
                if (secrets[i] > 0) world.Secret(Names[i], $"{Names[i]}-{secrets[i] % 2}", credential: secrets[i] == 3 ? null : "");
            for (int i = 0; i < bindings.Length; i++)
            {
                (string app, int expiry, string[] given) = bindings[i];
                world.Binding($"b{i}", "", "", spec => spec with
                {
                    Secrets = [.. given.Select((name, at) => new SecretBinding { Env = Variables[at], SecretName = name })],
                    ExpiresAt = expiry == 0 ? null : World.Now.AddHours(expiry),
                }, app);
            }

            for (int i = 0; i < count; i++)
            {
                string name = Names[recorded[i] % Names.Length];
                world.Record(Variables[i], name, $"{name}-{recorded[i] / Names.Length}", "b0");
            }

            return new Any(world);
        }
    }
}
