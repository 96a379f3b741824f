using System.Globalization;
using System.Text;

namespace Superserve.ApiServer.Documents;

/// <summary>
/// Reads the protobuf that Go clients send for built-in types (kubectl's "auth can-i" and "create token", helm's releases).
/// Answers are JSON, which they take as well. Only the messages in <see cref="ProtobufMessages"/> are known.
/// </summary>
internal static class ProtobufReader
{
    public const string MediaType = "application/vnd.kubernetes.protobuf";

    private static readonly byte[] Magic = "k8s\0"u8.ToArray();

    public static JsonObject Read(byte[] body)
    {
        if (!body.AsSpan().StartsWith(Magic)) throw ApiErrors.BadRequest("the body is no Kubernetes protobuf");
        try
        {
            JsonObject envelope = ReadMessage(body.AsSpan(Magic.Length), ProtobufMessages.Find("Unknown")!);
            string kind = envelope.Text("typeMeta", "kind") ?? "";
            IReadOnlyDictionary<int, ProtobufField> message = ProtobufMessages.Find(kind) ?? throw ApiErrors.UnsupportedMediaType($"{MediaType} of kind {kind}");
            JsonObject value = ReadMessage(Convert.FromBase64String(envelope.Text("raw") ?? ""), message);
            value["apiVersion"] = envelope.Text("typeMeta", "apiVersion");
            value["kind"] = kind;
            return value;
        }
        catch (Exception exception) when (exception is ArgumentOutOfRangeException or IndexOutOfRangeException)
        {
            throw ApiErrors.BadRequest("the protobuf is cut short");
        }
    }

    private static JsonObject ReadMessage(ReadOnlySpan<byte> bytes, IReadOnlyDictionary<int, ProtobufField> fields)
    {
        JsonObject result = [];
        int at = 0;
        while (at < bytes.Length)
        {
            ulong tag = ReadVarint(bytes, ref at);
            ulong number = 0;
            ReadOnlySpan<byte> content = [];
            switch (tag & 7)
            {
                case 0:
                    number = ReadVarint(bytes, ref at);
                    break;
                case 1:
                    at += 8;
                    break;
                case 2:
                    int length = (int)ReadVarint(bytes, ref at);
                    content = bytes.Slice(at, length);
                    at += length;
                    break;
                default:
                    at += 4;
                    break;
            }

            if (fields.TryGetValue((int)(tag >> 3), out ProtobufField? field)) Set(result, field, ReadValue(field, number, content), content);
        }

        return result;
    }

    private static void Set(JsonObject target, ProtobufField field, JsonNode? value, ReadOnlySpan<byte> content)
    {
        if (field.IsMap)
        {
            JsonObject entry = ReadMessage(content, field.Type == "bytes" ? ProtobufMessages.Find("BytesEntry")! : ProtobufMessages.Find("TextEntry")!);
            target.Child(field.Name)[entry.Text("key") ?? ""] = entry.Text("value") ?? "";
        }
        else if (field.IsList)
        {
            if (target[field.Name] is not JsonArray list) target[field.Name] = list = [];
            list.Add(value);
        }
        else if (value is not null && !(value.Text() is "" && field.Type == "string"))
        {
            target[field.Name] = value;
        }
    }

    private static JsonNode? ReadValue(ProtobufField field, ulong number, ReadOnlySpan<byte> content) => field.Type switch
    {
        _ when field.IsMap => null,
        "string" => Encoding.UTF8.GetString(content),
        "bytes" => Convert.ToBase64String(content),
        "int" => (long)number,
        "bool" => number != 0,
        "time" => ReadTime(content, "yyyy-MM-dd'T'HH:mm:ss'Z'"),
        "microtime" => ReadTime(content, "yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'"),
        _ => ReadMessage(content, ProtobufMessages.Find(field.Type)!),
    };

    private static JsonValue? ReadTime(ReadOnlySpan<byte> content, string format)
    {
        JsonObject parts = ReadMessage(content, ProtobufMessages.Find("Timestamp")!);
        if (parts.Number("seconds") is not { } seconds || seconds < 0) return null;
        DateTimeOffset time = DateTimeOffset.FromUnixTimeSeconds(seconds).AddTicks((parts.Number("nanos") ?? 0) / 100);
        return JsonValue.Create(time.UtcDateTime.ToString(format, CultureInfo.InvariantCulture));
    }

    private static ulong ReadVarint(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte next = bytes[at++];
            value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80) break;
        }

        return value;
    }
}
