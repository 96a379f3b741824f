using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Superserve.Operator.Metrics;

namespace Superserve.Operator.Connections;

/// <summary>How much of something each address may hold at one time, so that no caller keeps all others out.</summary>
internal sealed class AddressLimit(int most)
{
    private const int NetworkBytes = 8;

    private readonly Lock _lock = new();
    private readonly Dictionary<IPAddress, int> _held = [];

    /// <summary>One more for the address, until it is disposed; null where it holds its share.</summary>
    public IDisposable? Enter(IPAddress? address)
    {
        IPAddress caller = CallerOf(address);
        lock (_lock)
        {
            int held = _held.GetValueOrDefault(caller);
            if (held >= most) return null;
            _held[caller] = held + 1;
        }

        return new Place(this, caller);
    }

    /// <summary>
    /// Whom an address counts for: a mapped IPv4 address for itself, an IPv6 address for its /64, since one host has all of that.
    /// Callers without an address count for one.
    /// </summary>
    public static IPAddress CallerOf(IPAddress? address)
    {
        if (address is null) return IPAddress.IPv6None;
        if (address.IsIPv4MappedToIPv6) return address.MapToIPv4();
        byte[] bytes = address.GetAddressBytes();
        if (bytes.Length > NetworkBytes) bytes.AsSpan(NetworkBytes).Clear();
        return new IPAddress(bytes);
    }

    private void Leave(IPAddress caller)
    {
        lock (_lock)
        {
            if (--_held[caller] == 0) _held.Remove(caller);
        }
    }

    private sealed class Place(AddressLimit limit, IPAddress caller) : IDisposable
    {
        public void Dispose() => limit.Leave(caller);
    }
}

/// <summary>Bounds the open connections of each address on a port.</summary>
internal static class AddressLimitExtensions
{
    /// <summary>Cuts what is beyond the bound at once. Ahead of TLS: a handshake costs more than the caller pays for it.</summary>
    public static void UseAddressLimit(this ListenOptions listen, TlsPort port, int most)
    {
        OperatorMetrics metrics = listen.ApplicationServices.GetRequiredService<OperatorMetrics>();
        AddressLimit limit = new(most);
        listen.Use(next => async connection =>
        {
            using IDisposable? place = limit.Enter((connection.RemoteEndPoint as IPEndPoint)?.Address);
            if (place is not null)
            {
                await next(connection);
                return;
            }

            metrics.ConnectionRefused(port);
            connection.Abort(new ConnectionAbortedException("Too many connections of one address."));
        });
    }
}
