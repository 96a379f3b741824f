using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Superserve.Sidecar.Events;

/// <summary>JSON for files, terminals and agents: without the escapes that only text within a web page needs.</summary>
internal static class ReadableJson
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static byte[] Serialize<T>(T value, JsonTypeInfo<T> type)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = Writer(buffer)) JsonSerializer.Serialize(writer, value, type);
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>A writer of one value after another, reset between them.</summary>
    public static Utf8JsonWriter Writer(IBufferWriter<byte> output) => new(output, Options);
}
