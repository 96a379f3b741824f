using FsCheck;
using FsCheck.Xunit;
using Superserve.Core.Authentication;

namespace Superserve.Core.Tests.Authentication;

public sealed class ValueTemplateTests
{
    private static ValueTemplate Template(string text)
    {
        Assert.True(ValueTemplate.TryParse(text, out ValueTemplate? template, out string? error), error);
        Assert.Null(error);
        return template;
    }

    [Theory]
    [InlineData("{{ value }}", "", "")]
    [InlineData("{{value}}", "", "")]
    [InlineData("{{   value}}", "", "")]
    [InlineData("$(value)", "", "")]
    [InlineData("Bearer {{ value }}", "Bearer ", "")]
    [InlineData("a {{ value }} b", "a ", " b")]
    [InlineData("a $(value) b", "a ", " b")]
    [InlineData("{{{ value }}}", "{", "}")]
    [InlineData("{{ {{ value }}", "{{ ", "")]
    [InlineData("{{ x }} {{ value }}", "{{ x }} ", "")]
    [InlineData("{{ value }} }}", "", " }}")]
    [InlineData("$(value) {{", "", " {{")]
    [InlineData("{{ x }} $(value)", "{{ x }} ", "")]
    public void A_template_has_a_place(string text, string before, string after) => Assert.Equal(new ValueTemplate(before, after, true), Template(text));

    [Theory]
    [InlineData("")]
    [InlineData("constant")]
    [InlineData("{{ Value }}")]
    [InlineData("{{ values }}")]
    [InlineData("{{ value }")]
    [InlineData("{ value }}")]
    [InlineData("{{\tvalue }}")]
    [InlineData("$(VALUE)")]
    [InlineData("$value")]
    [InlineData("{{}}")]
    public void Other_text_is_constant(string text)
    {
        Assert.Equal(new ValueTemplate(text, "", false), Template(text));
        Assert.Equal(text, Template(text).Render("secret"));
        Assert.False(Template(text).TryExtract(text, out _));
    }

    [Theory]
    [InlineData("{{ value }}{{ value }}")]
    [InlineData("{{ value }} {{value}}")]
    [InlineData("$(value)$(value)")]
    [InlineData("{{ value }} $(value)")]
    [InlineData("$(value) {{ value }}")]
    public void Two_places_are_refused(string text)
    {
        Assert.False(ValueTemplate.TryParse(text, out ValueTemplate? template, out string? error));
        Assert.Null(template);
        Assert.Equal("the template holds {{ value }} twice; write it once", error);
    }

    [Theory]
    [InlineData("a {{ value }} b", "a x b", "x")]
    [InlineData("a {{ value }} b", "A x B", "x")]
    [InlineData("a {{ value }} b", "a  b", "")]
    [InlineData("a {{ value }} b", "a b", null)]
    [InlineData("a {{ value }} b", "a x", null)]
    [InlineData("a {{ value }} b", "x b", null)]
    [InlineData("aa{{ value }}", "a", null)]
    [InlineData("{{ value }}", "", "")]
    [InlineData("{{ value }}", "x", "x")]
    public void What_stands_at_the_place_is_taken_out(string template, string text, string? expected)
    {
        Assert.Equal(expected is not null, Template(template).TryExtract(text, out ReadOnlySpan<char> value));
        Assert.Equal(expected ?? "", value.ToString());
    }

    [Property]
    public bool What_is_put_in_comes_out(NonNull<string> before, NonNull<string> after, NonNull<string> value)
    {
        ValueTemplate template = new(before.Get, after.Get, true);
        return template.TryExtract(template.Render(value.Get), out ReadOnlySpan<char> extracted) && extracted.SequenceEqual(value.Get);
    }

    // ---- percent-encoding ----------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("AZaz09-._~", "AZaz09-._~")]
    [InlineData(" /?#[]@!$&'()*+,;=%:", "%20%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%3A")]
    [InlineData("\0\u0080\u00ff", "%00%80%FF")]
    [InlineData("", "")]
    public void All_but_the_unreserved_characters_are_escaped(string text, string escaped) => Assert.Equal(escaped, Percent.Encode(text));

    [Theory]
    [InlineData("a%41%61%2f", false, "aAa/")]
    [InlineData("%fF%00", false, "\u00ff\0")]
    [InlineData("%", false, "%")]
    [InlineData("%4", false, "%4")]
    [InlineData("%zz%4z%z4", false, "%zz%4z%z4")]
    [InlineData("%%41", false, "%A")]
    [InlineData("%2541", false, "%41")]
    [InlineData("a+b%2B", false, "a+b+")]
    [InlineData("a+b%2B", true, "a b+")]
    [InlineData("a+b", true, "a b")]
    [InlineData("a+b", false, "a+b")]
    [InlineData("%20+", true, "  ")]
    [InlineData("plain", true, "plain")]
    public void Escapes_are_decoded_once(string text, bool plusIsSpace, string decoded) => Assert.Equal(decoded, Percent.Decode(text, plusIsSpace));

    [Property]
    public bool What_is_escaped_is_decoded_to_itself(byte[] bytes)
    {
        string text = System.Text.Encoding.Latin1.GetString(bytes);
        return Percent.Decode(Percent.Encode(text)) == text && Percent.Decode(TestSecrets.Escaped(text), plusIsSpace: true) == text
            && Percent.Encode(text).All(c => c == '%' || Percent.IsUnreserved(c));
    }
}
