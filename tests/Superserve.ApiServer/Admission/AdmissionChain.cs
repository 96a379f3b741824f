using Superserve.ApiServer.Apply;
using Superserve.ApiServer.Storage;

namespace Superserve.ApiServer.Admission;

/// <summary>Mutating webhooks one after the other, validating ones after them all.</summary>
internal sealed class AdmissionChain(ObjectStore store, WebhookCaller caller)
{
    /// <summary>The object as the mutating webhooks leave it. <paramref name="settle"/> sets defaults again after each of them.</summary>
    public async Task<JsonObject> MutateAsync(AdmissionAttributes attributes, JsonObject value, Func<JsonObject, JsonObject> settle, ICollection<string> warnings, CancellationToken cancellation)
    {
        IReadOnlyList<Webhook> webhooks = Webhook.All(store, "mutatingwebhookconfigurations");
        JsonObject current = value;
        List<(Webhook Webhook, JsonObject Result)> ran = [];
        foreach (Webhook webhook in webhooks)
        {
            AdmissionAttributes asked = attributes with { Object = current };
            if (!webhook.Matches(asked, store)) continue;
            current = await MutateOnceAsync(webhook, asked, current, settle, warnings, cancellation);
            ran.Add((webhook, current));
        }

        // What others changed after a webhook had its turn is shown to it once more, if it wants that.
        foreach ((Webhook webhook, JsonObject result) in ran)
        {
            if (!webhook.ReinvokesIfNeeded || Json.Same(result, current)) continue;
            AdmissionAttributes asked = attributes with { Object = current };
            if (webhook.Matches(asked, store)) current = await MutateOnceAsync(webhook, asked, current, settle, warnings, cancellation);
        }

        return current;
    }

    /// <summary>Asks every validating webhook, all at once; the first refusal in their order counts.</summary>
    public async Task ValidateAsync(AdmissionAttributes attributes, ICollection<string> warnings, CancellationToken cancellation)
    {
        Webhook[] matching = [.. Webhook.All(store, "validatingwebhookconfigurations").Where(webhook => webhook.Matches(attributes, store))];
        JsonObject?[] answers = await Task.WhenAll(matching.Select(webhook => AskAsync(webhook, attributes, cancellation)));
        for (int index = 0; index < matching.Length; index++)
        {
            if (answers[index] is { } answer) Judge(matching[index], answer, warnings);
        }
    }

    /// <summary>Both steps where nothing is stored: CONNECT, and tokens.</summary>
    public async Task ConnectAsync(AdmissionAttributes attributes, ICollection<string> warnings, CancellationToken cancellation)
    {
        JsonObject options = await MutateAsync(attributes, attributes.Object ?? [], value => value, warnings, cancellation);
        await ValidateAsync(attributes with { Object = options }, warnings, cancellation);
    }

    private async Task<JsonObject> MutateOnceAsync(
        Webhook webhook, AdmissionAttributes attributes, JsonObject current, Func<JsonObject, JsonObject> settle, ICollection<string> warnings, CancellationToken cancellation)
    {
        if (await AskAsync(webhook, attributes, cancellation) is not { } answer) return current;
        Judge(webhook, answer, warnings);
        if (answer.Text("patch") is not { Length: > 0 } patch) return current;
        try
        {
            JsonArray operations = Json.Parse(Convert.FromBase64String(patch)) as JsonArray ?? [];
            return settle((JsonObject)JsonPatch.Apply(current, operations)!);
        }
        catch (Exception exception) when (exception is FormatException or System.Text.Json.JsonException or ApiException { Code: 422 })
        {
            throw ApiErrors.Internal($"failed to apply the patch of webhook \"{webhook.Name}\": {exception.Message}");
        }
    }

    private async Task<JsonObject?> AskAsync(Webhook webhook, AdmissionAttributes attributes, CancellationToken cancellation)
    {
        if (attributes.DryRun && webhook.Definition.Text("sideEffects") is not ("None" or "NoneOnDryRun"))
        {
            throw ApiErrors.BadRequest($"admission webhook \"{webhook.Name}\" does not support dry run");
        }

        try
        {
            return await caller.CallAsync(webhook, attributes, cancellation);
        }
        catch (HttpRequestException exception)
        {
            if (webhook.FailsClosed) throw ApiErrors.Internal($"failed calling webhook \"{webhook.Name}\": {exception.Message}");
            return null;
        }
    }

    private static void Judge(Webhook webhook, JsonObject answer, ICollection<string> warnings)
    {
        foreach (string warning in answer.Texts("warnings")) warnings.Add(warning);
        if (answer.Flag("allowed") == true) return;
        JsonObject? status = answer.Object("status");
        string denied = $"admission webhook \"{webhook.Name}\" denied the request";
        string message = status.Text("message") is { Length: > 0 } text ? $"{denied}: {text}"
            : status.Text("reason") is { Length: > 0 } why ? $"{denied}: {why}"
            : $"{denied} without explanation";
        int code = (int)(status.Number("code") ?? 403);
        throw new ApiException(code < 400 ? 403 : code, status.Text("reason") ?? "Forbidden", message, status.Object("details"));
    }
}
