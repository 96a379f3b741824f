using System.Buffers;
using System.Text.Json;
using Google.Protobuf;

namespace Superserve.Audit.Export;

/// <summary>Writes events to a stream, a JSON object a line.</summary>
internal sealed class JsonLines(Stream output) : IEventExporter
{
    /// <inheritdoc />
    public string Name => "stdout";

    /// <inheritdoc />
    public int Export(IReadOnlyList<IMessage> rows)
    {
        ArrayBufferWriter<byte> buffer = new(16 * 1024);
        using (Utf8JsonWriter writer = new(buffer))
        {
            foreach (IMessage row in rows)
            {
                writer.WriteStartObject();
                writer.WriteString("time", EventFields.TimeOf(row));
                foreach ((string name, object? value) in EventFields.Of(row)) Write(writer, name, value);
                writer.WriteEndObject();
                writer.Flush();
                buffer.Write("\n"u8);
                writer.Reset();
            }
        }

        output.Write(buffer.WrittenSpan);
        output.Flush();
        return 0;
    }

    /// <inheritdoc />
    public void Dispose() => output.Dispose();

    private static void Write(Utf8JsonWriter writer, string name, object? value)
    {
        switch (value)
        {
            case string text:
                writer.WriteString(name, text);
                break;
            case long number:
                writer.WriteNumber(name, number);
                break;
            case bool flag:
                writer.WriteBoolean(name, flag);
                break;
            case string[] texts:
                writer.WriteStartArray(name);
                foreach (string text in texts) writer.WriteStringValue(text);
                writer.WriteEndArray();
                break;
        }
    }
}
