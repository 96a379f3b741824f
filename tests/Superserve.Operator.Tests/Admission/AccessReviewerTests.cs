using System.Net;
using System.Text.Json.Nodes;
using k8s;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Superserve.Kubernetes.Api;
using Superserve.Operator.Admission;
using Superserve.Operator.Resources;
using Superserve.Testing;

namespace Superserve.Operator.Tests.Admission;

/// <summary>What the API server is asked, and what is made of its answers.</summary>
public sealed class AccessReviewerTests
{
    private static readonly Access Use = new("use", ResourceKind.Of<SecretResource>(), "known");

    [Fact]
    public async Task The_question_is_about_the_user_as_the_API_server_authenticated_it()
    {
        JsonNode? asked = null;
        await using Authorizer authorizer = await Authorizer.StartAsync(review =>
        {
            asked = review;
            return """{"status": {"allowed": true}}""";
        });
        JsonObject review = Review.Of(Review.Secret("{}"), user: "ann");
        review["request"]!["userInfo"] = JsonNode.Parse("""{"username": "ann", "uid": "u-7", "groups": ["g1", "g2"], "extra": {"scopes.example.com/x": ["a", "b"]}}""");
        Assert.Empty(await authorizer.Reviewer.FindRefusedAsync(Review.Read(review), [Use], CancellationToken.None));
        JsonNode expected = JsonNode.Parse(
            """
            {"user": "ann", "uid": "u-7", "groups": ["g1", "g2"], "extra": {"scopes.example.com/x": ["a", "b"]}, "resourceAttributes":
              {"namespace": "agents", "verb": "use", "group": "superserve.ai", "version": "v1alpha1", "resource": "secrets", "name": "known"}}
            """)!;
        Assert.True(JsonNode.DeepEquals(expected, asked!["spec"]), asked.ToJsonString());
    }

    [Theory]
    [InlineData("""{"status": {"allowed": true, "denied": true}}""")]
    [InlineData("""{"status": {"allowed": false}}""")]
    [InlineData("""{"status": {}}""")]
    [InlineData("{}")]
    public async Task Whatever_does_not_say_that_it_is_allowed_is_a_refusal(string answer)
    {
        await using Authorizer authorizer = await Authorizer.StartAsync(_ => answer);
        Assert.Equal([Use], await authorizer.Reviewer.FindRefusedAsync(Review.Read(Review.Of(Review.Secret("{}"))), [Use], CancellationToken.None));
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("<html>")]
    [InlineData("""{"status": {"allowed": "yes"}}""")]
    public async Task An_answer_that_is_none_decides_nothing(string answer)
    {
        await using Authorizer authorizer = await Authorizer.StartAsync(_ => answer);
        AdmissionRequest request = Review.Read(Review.Of(Review.Secret("{}")));
        CannotDecideException exception = await Assert.ThrowsAsync<CannotDecideException>(() => authorizer.Reviewer.FindRefusedAsync(request, [Use], CancellationToken.None));
        Assert.StartsWith("the operator could not check whether you may use secrets \"known\"", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_is_away_decides_nothing()
    {
        using KubernetesConnection nowhere = new(new KubernetesClientConfiguration { Host = $"http://127.0.0.1:{FreePort.Next()}" }, TimeProvider.System);
        AdmissionRequest request = Review.Read(Review.Of(Review.Secret("{}")));
        await Assert.ThrowsAsync<CannotDecideException>(() => new AccessReviewer(nowhere).FindRefusedAsync(request, [Use], CancellationToken.None));
    }

    [Fact]
    public async Task No_name_and_no_namespace_are_not_taken_for_all_of_them()
    {
        int asked = 0;
        await using Authorizer authorizer = await Authorizer.StartAsync(_ =>
        {
            Interlocked.Increment(ref asked);
            return """{"status": {"allowed": true}}""";
        });
        AdmissionRequest request = Review.Read(Review.Of(Review.Secret("{}")));
        Assert.Single(await authorizer.Reviewer.FindRefusedAsync(request, [Use with { Name = "" }], CancellationToken.None));
        Assert.Single(await authorizer.Reviewer.FindRefusedAsync(request with { Namespace = "" }, [Use], CancellationToken.None));
        Assert.Equal(0, asked);
    }

    [Fact]
    public async Task Many_questions_are_asked_four_at_a_time_and_refused_ones_keep_their_order()
    {
        int running = 0;
        int most = 0;
        TaskCompletionSource four = new();
        await using Authorizer authorizer = await Authorizer.StartAsync(async review =>
        {
            lock (four)
            {
                most = Math.Max(most, ++running);
                if (running == 4) four.TrySetResult();
            }

            await four.Task;
            // Lets a fifth come in, if one is on its way.
            for (int i = 0; i < 500; i++) await Task.Yield();
            lock (four) running--;
            int number = int.Parse((string)review["spec"]!["resourceAttributes"]!["name"]!);
            return $$$"""{"status": {"allowed": {{{(number % 3 == 0 ? "true" : "false")}}}}}""";
        });
        Access[] wanted = [.. Enumerable.Range(0, 64).Select(i => Use with { Name = $"{i}" })];
        IReadOnlyList<Access> refused = await authorizer.Reviewer.FindRefusedAsync(Review.Read(Review.Of(Review.Secret("{}"))), wanted, CancellationToken.None);
        Assert.Equal(Enumerable.Range(0, 64).Where(i => i % 3 != 0).Select(i => $"{i}"), refused.Select(access => access.Name));
        Assert.Equal(4, most);
    }

    /// <summary>Answers access reviews with a text.</summary>
    private sealed class Authorizer : IAsyncDisposable
    {
        private readonly WebApplication _app;
        private readonly KubernetesConnection _connection;

        private Authorizer(WebApplication app, KubernetesConnection connection)
        {
            _app = app;
            _connection = connection;
            Reviewer = new AccessReviewer(connection);
        }

        public AccessReviewer Reviewer { get; }

        public static Task<Authorizer> StartAsync(Func<JsonNode, string> answer) => StartAsync(review => Task.FromResult(answer(review)));

        public static async Task<Authorizer> StartAsync(Func<JsonNode, Task<string>> answer)
        {
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
            WebApplication app = builder.Build();
            app.Run(async context =>
            {
                Assert.Equal("/apis/authorization.k8s.io/v1/subjectaccessreviews", context.Request.Path);
                await context.Response.WriteAsync(await answer((await JsonNode.ParseAsync(context.Request.Body))!));
            });
            await app.StartAsync();
            return new Authorizer(app, new KubernetesConnection(new KubernetesClientConfiguration { Host = app.Urls.First() }, TimeProvider.System));
        }

        public async ValueTask DisposeAsync()
        {
            _connection.Dispose();
            await _app.DisposeAsync();
        }
    }
}
