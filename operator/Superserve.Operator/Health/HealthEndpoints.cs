namespace Superserve.Operator.Health;

/// <summary>Says what keeps a process from answering.</summary>
public interface IReadiness
{
    /// <summary>What is not ready, one line each, with what to do about it.</summary>
    IReadOnlyList<string> Problems { get; }
}

/// <summary>/healthz and /readyz, on a port of their own.</summary>
public static class HealthEndpoints
{
    /// <summary>Maps the paths. Neither says anything that a stranger in the cluster must not read.</summary>
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", context => context.Response.WriteAsync("ok\n"));
        routes.MapGet("/readyz", async context =>
        {
            IReadOnlyList<string> problems = context.RequestServices.GetRequiredService<IReadiness>().Problems;
            context.Response.StatusCode = problems.Count == 0 ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
            await context.Response.WriteAsync(problems.Count == 0 ? "ok\n" : string.Join('\n', problems) + "\n");
        });
    }
}
