# Ruby's own Net::HTTP.
require 'net/http'
require 'securerandom'
require 'stringio'

HEADERS = { 'Authorization' => "Bearer #{ENV['API_TOKEN']}" }.freeze
body = SecureRandom.bytes(3 << 20)

def connection(&) = Net::HTTP.start('api.example.com', 443, use_ssl: true, &)

connection do |http|
  puts http.get('/hello', HEADERS).body

  request = Net::HTTP::Post.new('/echo', HEADERS.merge('Transfer-Encoding' => 'chunked', 'Content-Type' => 'application/octet-stream'))
  request.body_stream = StringIO.new(body)
  back = http.request(request).body
  puts "#{back.bytesize} #{back.b == body ? 'same' : 'other'}"

  http.request_get('/events', HEADERS) do |answer|
    answer.read_body do |piece|
      puts piece.strip
      connection { |other| other.get('/release', HEADERS) } if piece.strip.end_with?('one')
    end
  end
end
