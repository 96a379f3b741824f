using System.Net;
using Superserve.Operator.Configuration;
using Superserve.Operator.Delivery;
using Superserve.Operator.Tests.Delivery.Fixture;

namespace Superserve.Operator.Tests.Delivery;

/// <summary>Who may be at the door.</summary>
public sealed class DeliveryGateTests : DeliveryTest
{
    private static readonly IPAddress One = IPAddress.Parse("10.0.0.1");
    private static readonly IPAddress Another = IPAddress.Parse("10.0.0.2");

    [Theory]
    [InlineData(16, 64)]
    [InlineData(2048, 128)]
    public void An_address_has_a_part_of_the_door_and_leaves_the_rest_to_others(int connections, int share)
    {
        DeliveryLimits limits = new() { Handshakes = share + 1 };
        DeliveryGate gate = new(limits, new OperatorOptions { MaxConnectionsPerAddress = connections });
        List<IDisposable> places = [.. Enumerable.Range(0, share).Select(_ => gate.Enter(Registry, One))];
        Assert.Same(Ending.Busy, Assert.Throws<EndingException>(() => gate.Enter(Registry, One)).Ending);
        IDisposable last = gate.Enter(Registry, Another);
        // Who finds no place among all keeps none of its own share either.
        for (int attempt = 0; attempt < share; attempt++) Assert.Throws<EndingException>(() => gate.Enter(Registry, Another));
        last.Dispose();
        gate.Enter(Registry, Another).Dispose();
        places[0].Dispose();
        gate.Enter(Registry, One).Dispose();
    }
}
