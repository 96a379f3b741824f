using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Superserve.ApiServer.Services;

namespace Superserve.ApiServer.Admission;

/// <summary>Sends AdmissionReviews over TLS; a webhook's certificate must come from its caBundle.</summary>
internal sealed class WebhookCaller(ServiceClients clients, TimeProvider time)
{
    /// <summary>The webhook's response, or an exception that says why there is none.</summary>
    public async Task<JsonObject> CallAsync(Webhook webhook, AdmissionAttributes attributes, CancellationToken cancellation)
    {
        string uid = Guid.NewGuid().ToString();
        JsonObject review = new() { ["kind"] = "AdmissionReview", ["apiVersion"] = "admission.k8s.io/v1", ["request"] = attributes.ToRequest(uid) };
        using CancellationTokenSource deadline = new(webhook.Timeout, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, deadline.Token);

        JsonObject config = webhook.Definition.Object("clientConfig") ?? [];
        Uri address = AddressOf(config, webhook.Timeout);
        using StringContent content = new(review.ToText(), Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        try
        {
            using HttpResponseMessage answer = await clients.For(config).PostAsync(address, content, either.Token);
            string text = await answer.Content.ReadAsStringAsync(either.Token);
            if (answer.StatusCode != HttpStatusCode.OK) throw new HttpRequestException($"the server answered {(int)answer.StatusCode}: {text}");
            JsonObject? response = (Json.Parse(text) as JsonObject).Object("response");
            return response.Text("uid") == uid ? response! : throw new HttpRequestException($"expected response.uid=\"{uid}\", got \"{response.Text("uid")}\"");
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested)
        {
            throw new HttpRequestException($"failed to call webhook: Post \"{address}\": context deadline exceeded");
        }
        catch (HttpRequestException exception)
        {
            throw new HttpRequestException($"failed to call webhook: Post \"{address}\": {exception.InnerException?.Message ?? exception.Message}", exception);
        }
        catch (System.Text.Json.JsonException exception)
        {
            throw new HttpRequestException($"failed to call webhook: the answer is no JSON: {exception.Message}", exception);
        }
    }

    private static Uri AddressOf(JsonObject config, TimeSpan timeout)
    {
        string query = $"timeout={(int)timeout.TotalSeconds}s";
        if (config.Object("service") is not { } service) return new Uri($"{config.Text("url")}?{query}");
        string path = (service.Text("path") ?? "/").TrimStart('/');
        return new Uri(ServiceClients.AddressOf(service), $"{path}?{query}");
    }
}
