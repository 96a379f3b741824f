using System.Net;
using System.Net.Sockets;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Benchmarks.Network;

/// <summary>Starts programs in a namespace, and waits for their listeners.</summary>
internal static class Programs
{
    /// <summary>nginx with a worker for each processor, as the sidecar has threads; <paramref name="servers"/> is its stream or http block.</summary>
    public static RunningProgram StartNginx(NetworkNamespace network, string directory, string name, string servers, string user = "www-data")
    {
        string[] command = NginxCommand(directory, name, servers, user);
        return network.Start(command[0], command[1..]);
    }

    /// <summary>Writes its configuration, and says how it is started.</summary>
    public static string[] NginxCommand(string directory, string name, string servers, string user = "www-data")
    {
        string file = Path.Combine(directory, $"{name}.conf");
        File.WriteAllText(file, $$"""
            load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            user {{user}};
            daemon off;
            pid {{directory}}/{{name}}.pid;
            error_log stderr;
            worker_processes {{Environment.ProcessorCount}};
            worker_rlimit_nofile 20000;
            events { worker_connections 8192; }
            {{servers}}
            """);
        return ["nginx", "-e", "stderr", "-c", file];
    }

    /// <summary>Waits until something listens.</summary>
    public static async Task ReachableAsync(NetworkNamespace network, RunningProgram program, IPAddress address, int port)
    {
        await Eventually.True(() => program.HasEnded || network.Enter(() =>
        {
            using TcpClient client = new();
            try
            {
                client.Connect(address, port);
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        }), $"a listener at {address}:{port}");
        if (program.HasEnded) throw new InvalidOperationException($"A program ended: {await program.EndAsync(TimeSpan.FromSeconds(10))}");
    }
}
